r"""Which noise goes with which data of a batch (tong2024improving).

| symbol | code | equation |
|---|---|---|
| q(x0) q(x1) | `independent` | as drawn (I-CFM) |
| pi | `exact` | argmin over permutations of sum_i abs(x0_pi(i) - x1_i)^2 (OT-CFM) |
| pi_{2 sigma^2} | `Entropic` | argmin over plans P of sum_ij P_ij (abs(x0_i - x1_j)^2 + 2 sigma^2 log P_ij) (SB-CFM) |

All give the noise a new order and leave the data in theirs, with their labels. The authors draw pairs of the plan with
replacement, so that a batch misses some of its data; here each x1 has exactly one x0: the permutation itself, or for
`Entropic` a draw of the plan's column. The pairs' law is the same.

The exact assignment is SciPy's, for equal weights an optimal plan too, and needs no more than is installed. For two
dimensions it is slow from bad starts, three times slower than the network simplex of POT. It is shown approximate
potentials of the dual problem first: they shift each row and column by a constant, which changes no assignment's rank,
and brings it to the speed of POT, for images to several times that.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from bench.errors import UserError

Array = NDArray[np.float64]

SMOOTHING = 0.03
"""Entropy of the approximate potentials, in units of the mean cost."""
ROUNDS = 20
"""How often they are improved."""
UNDERFLOW = 500.0
"""Cost over entropy from which exp(-cost / entropy) needs logarithms: e^-500 is far from float64's least."""


class Coupling(Protocol):
    """A rule that gives each x1 of a batch its x0."""

    def __call__(self, x0: Tensor, x1: Tensor, generator: torch.Generator, /) -> Tensor:
        """Return x0 `(B, *S)` in another order, x0_i for x1_i; the generator draws what is random."""


def independent(x0: Tensor, x1: Tensor, generator: torch.Generator) -> Tensor:
    """Return x0 as it is."""
    return x0


def exact(x0: Tensor, x1: Tensor, generator: torch.Generator) -> Tensor:
    """Return x0 in the order of the optimal transport from the batch x0 to the batch x1, for squared distances."""
    return x0[_index(assignment(squared_distances(x1, x0)), x0)]


@dataclass(frozen=True)
class Entropic:
    """Pairs of the entropic plan, the Schroedinger bridge's of a reference with diffusion sigma.

    Args:
        sigma: the plan's regularization is 2 sigma^2.

    Raises:
        UserError: sigma not above 0; when called, POT not installed.
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        if self.sigma <= 0:
            raise UserError(
                f"the entropic coupling needs a positive sigma, got {self.sigma:g}; else take `exact`"
            )

    def __call__(self, x0: Tensor, x1: Tensor, generator: torch.Generator) -> Tensor:
        """Return for each x1 one x0 of the batch, drawn from its column of the plan."""
        columns = torch.from_numpy(self.plan(x0, x1)).T.to(generator.device)
        return x0[torch.multinomial(columns, 1, generator=generator)[:, 0].to(x0.device)]

    def plan(self, x0: Tensor, x1: Tensor) -> Array:
        """Return P `(n0, n1)`, which sums to 1, in float64.

        Raises:
            UserError: POT not installed.
        """
        cost, entropy = squared_distances(x0, x1), 2 * self.sigma**2
        method = "sinkhorn" if cost.max() < UNDERFLOW * entropy else "sinkhorn_log"
        weights = [np.full(n, 1 / n) for n in cost.shape]
        plan: Array = _pot().sinkhorn(*weights, cost, entropy, method=method, stopThr=1e-6)
        return plan


def squared_distances(a: Tensor, b: Tensor) -> Array:
    """Return abs(a_i - b_j)^2 `(n, m)` of batches `(n, *S)` and `(m, *S)`, in float64."""
    a, b = (x.detach().flatten(1).double().cpu() for x in (a, b))
    cost: Array = (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * (a @ b.T)).clamp(min=0).numpy()
    return cost


def assignment(cost: Array) -> NDArray[np.intp]:
    """Return the column of each row, a permutation of least total cost; see the notes of this module.

    Raises:
        UserError: not square, or costs that are not finite.
    """
    if cost.ndim != 2 or cost.shape[0] != cost.shape[1]:
        raise UserError(f"an assignment needs as many noises as data, got costs of shape {cost.shape}")
    if not np.isfinite(cost).all():
        raise UserError("an assignment needs finite costs: noise or data are not finite")
    reduced = cost - cost.min(1, keepdims=True)
    reduced -= reduced.min(0)
    entropy = SMOOTHING * reduced.mean()
    if entropy > 0:
        reduced -= _potentials(reduced, entropy)
    columns: NDArray[np.intp] = linear_sum_assignment(reduced)[1]
    return columns


def _potentials(cost: Array, entropy: float) -> Array:
    """Return f_i + g_j of the entropic dual problem, approximately."""
    kernel = np.exp(-cost / entropy) + 1e-30  # far rows keep a finite potential
    v = np.ones(len(cost))
    for _ in range(ROUNDS):
        u = 1 / (kernel @ v)
        v = 1 / (u @ kernel)
    shift: Array = entropy * (np.log(u)[:, None] + np.log(v))
    return shift


def _index(columns: NDArray[np.intp], like: Tensor) -> Tensor:
    return torch.from_numpy(columns).to(like.device)


def _pot() -> Any:
    """Return POT.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module("ot")
    except ImportError as error:
        raise UserError("entropic transport needs POT: pip install cnf-bench[flow-matching]") from error
