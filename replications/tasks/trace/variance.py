r"""The variance of an estimated trace, from the Jacobian itself.

| symbol | code | shape | equation |
|---|---|---|---|
| J | `jacobian` | `(B, D, D)` | df/dx at each state |
| A | | `(B, D, D)` | (J + J^T) / 2 |
| variance | `estimate_variance` | scalar | Gaussian: 2 \|A\|_F^2; Rademacher: 2 (\|A\|_F^2 - sum_i A_ii^2) |

The variance is that of one probe, the mean over states. K probes divide it by K (hutchinson1990stochastic).
"""

from __future__ import annotations

from torch import Tensor, nn

from replications.flows.fields.pushforward import push
from replications.tasks.trace.methods import unit_vectors


def jacobian(field: nn.Module, t: Tensor, x: Tensor) -> Tensor:
    """Return J `(B, D, D)` at the states x `(B, D)`."""
    return push(field, t, x, unit_vectors(x))[1].permute(1, 2, 0)


def estimate_variance(j: Tensor, kind: str) -> float:
    """Return the variance of a one-probe estimate for Jacobians `(B, D, D)`, the mean over states (see the table).

    Args:
        j: J.
        kind: of the probes, `rademacher` or `gaussian`.
    """
    symmetric = (j + j.transpose(1, 2)) / 2
    total = symmetric.square().sum((1, 2))
    if kind == "rademacher":
        total = total - symmetric.diagonal(dim1=1, dim2=2).square().sum(1)
    return 2 * total.mean().item()
