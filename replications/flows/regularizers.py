r"""What is integrated along a trajectory to keep it simple (finlay2020rnode), by name and normalisation.

| symbol | code | equation |
|---|---|---|
| K, as printed | `kinetic_sum` | sum_i f_i^2 (12) |
| K, as computed | `kinetic_half_mean` | 1/(2D) sum_i f_i^2 |
| B, as printed | `jacobian_sum` | \|J\|_F^2 = E\|eps^T J\|^2 (13) |
| B, as computed | `jacobian_mean` | 1/D \|J\|_F^2 |

D counts all dimensions of a state. The weights 0.01 of the paper's experiments go with what its authors' code
computes: the printed sums with those weights regularise 2 D and D times as strongly.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from bench.errors import UserError
from replications.flows.divergence import Evaluation


def kinetic_sum(at: Evaluation) -> Tensor:
    """Return sum_i f_i^2, `(B,)`."""
    return at.f.square().flatten(1).sum(1)


def kinetic_half_mean(at: Evaluation) -> Tensor:
    """Return half the mean over dimensions of f_i^2, `(B,)`."""
    return 0.5 * at.f.square().flatten(1).mean(1)


def jacobian_sum(at: Evaluation) -> Tensor:
    """Return |J|_F^2, or its estimate from the probes of the divergence, `(B,)`."""
    assert at.frobenius is not None  # asked for wherever `needs_frobenius` says so
    return at.frobenius


def jacobian_mean(at: Evaluation) -> Tensor:
    """Return |J|_F^2 / D, or its estimate from the probes of the divergence, `(B,)`."""
    return jacobian_sum(at) / math.prod(at.f.shape[1:])


REGULARIZERS: dict[str, Callable[[Evaluation], Tensor]] = {
    f.__name__: f for f in (kinetic_sum, kinetic_half_mean, jacobian_sum, jacobian_mean)
}


def needs_frobenius(names: tuple[str, ...]) -> bool:
    """Tell whether one of the named regularizers needs |J|_F^2.

    Raises:
        UserError: there is none of that name.
    """
    for name in names:
        if name not in REGULARIZERS:
            raise UserError(f"unknown regularizer {name!r}; use one of {', '.join(REGULARIZERS)}")
    return any(name.startswith("jacobian") for name in names)
