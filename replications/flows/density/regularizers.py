r"""What is integrated along a path to keep it simple (finlay2020rnode, onken2021otflow), by name and normalisation.

| symbol | code | equation |
|---|---|---|
| K, as printed | `kinetic_sum` | sum_i f_i^2 (12) |
| K, as computed | `kinetic_half_mean` | 1/(2D) sum_i f_i^2 |
| B, as printed | `jacobian_sum` | \|J\|_F^2 = E\|eps^T J\|^2 (13) |
| B, as computed | `jacobian_mean` | 1/D \|J\|_F^2 |
| L of OT-Flow | `kinetic_half_sum` | 1/2 sum_i f_i^2 |
| R of OT-Flow | `hjb` | \|-dPhi/dt + 1/2 \|grad Phi\|^2\|, f = -grad Phi |

D counts all dimensions of a state. The weights 0.01 of RNODE's experiments go with what its authors' code
computes: the printed sums with those weights regularise 2 D and D times as strongly.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from replications.flows.density.divergence import Evaluation
from replications.flows.errors import RequestError


def kinetic_sum(at: Evaluation) -> Tensor:
    """Return sum_i f_i^2, `(B,)`."""
    return at.f.square().flatten(1).sum(1)


def kinetic_half_mean(at: Evaluation) -> Tensor:
    """Return half the mean over dimensions of f_i^2, `(B,)`."""
    return 0.5 * at.f.square().flatten(1).mean(1)


def kinetic_half_sum(at: Evaluation) -> Tensor:
    """Return 1/2 sum_i f_i^2, `(B,)`: the integrand of a transport cost."""
    return 0.5 * kinetic_sum(at)


def hjb(at: Evaluation) -> Tensor:
    """Return how far a potential is from the Hamilton-Jacobi-Bellman equation of optimal transport, `(B,)`.

    |-dPhi/dt + 1/2 |grad Phi|^2|, zero where the paths are straight and of constant speed.

    Raises:
        RequestError: the field gives no dPhi/dt.
    """
    if at.potential_t is None:
        raise RequestError("hjb needs a field that is the gradient of a potential, and the exact divergence")
    return (kinetic_half_sum(at) - at.potential_t).abs()


def jacobian_sum(at: Evaluation) -> Tensor:
    """Return |J|_F^2, or its estimate from the probes of the divergence, `(B,)`."""
    assert at.frobenius is not None  # asked for wherever `needs_frobenius` says so
    return at.frobenius


def jacobian_mean(at: Evaluation) -> Tensor:
    """Return |J|_F^2 / D, or its estimate from the probes of the divergence, `(B,)`."""
    return jacobian_sum(at) / math.prod(at.f.shape[1:])


REGULARIZERS: dict[str, Callable[[Evaluation], Tensor]] = {
    f.__name__: f
    for f in (kinetic_sum, kinetic_half_mean, kinetic_half_sum, hjb, jacobian_sum, jacobian_mean)
}


def needs_frobenius(names: tuple[str, ...]) -> bool:
    """Tell whether one of the named regularizers needs |J|_F^2.

    Raises:
        RequestError: there is none of that name.
    """
    for name in names:
        if name not in REGULARIZERS:
            raise RequestError(f"unknown regularizer {name!r}; use one of {', '.join(REGULARIZERS)}")
    return any(name.startswith("jacobian") for name in names)
