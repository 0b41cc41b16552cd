r"""How well a planar flow matches an energy, and its density on a grid: values, computed from flow and points alone.

| quantity | code | shape | equation |
|---|---|---|---|
| excess | `excess` | `(N,)` | log q(x) + U(x) at x = T(z), z of the base; its mean is the free energy F |
| KL | `Matched.kl` | `(N,)` | log q(x) - log p(x), p = e^-U / Z; its mean is KL(q, p) = F + log Z |
| density | `density` | `(N, N)` | q at the points of a grid |
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bench.data import energies2d
from replications.flows.density.flow import Flow
from replications.neural_ode.experiments.planar_cnf.inverted import Inverted
from replications.tasks.splits import TestSet, held_out

CHUNK = 2048
"""Points of a grid solved together."""


def excess(flow: Inverted, z: Tensor, energy: str) -> Tensor:
    """Return log q(x) + U(x) `(N,)` at the points x of q that points z `(N, 2)` of the base are carried to.

    Args:
        flow: whose map from base to data is T.
        z: points of the base.
        energy: U, a name of `bench.data.energies2d`.
    """
    path = flow.flow.path(z)
    values: Tensor = energies2d.energy(energy, path.z, torch)
    return flow.prior.log_prob(z) - path.delta + values


class Matched(NamedTuple):
    """Of N points of a flow: log q + U and log q - log p, `(N,)` in float64; the evaluations of the one solve."""

    excess: Tensor
    kl: Tensor
    nfe: int


@torch.no_grad()
def matched(flow: Inverted, z: TestSet, energy: str) -> Matched:
    """Return how well a flow matches e^-U / Z at the points that test points of the base are carried to."""
    flow.counter.reset()
    values = excess(flow, held_out(z), energy).double()
    return Matched(values, values + energies2d.log_partition(energy), flow.counter.forward_evaluations)


@torch.no_grad()
def density(flow: Flow, axis: Tensor) -> Tensor:
    """Return q `(N, N)` on the grid of an axis `(N,)`, first coordinate first, on the CPU."""
    grid = torch.cartesian_prod(axis, axis).to(next(flow.parameters()).device)
    parts = [flow.log_prob(part).exp() for part in grid.split(CHUNK)]
    return torch.cat(parts).cpu().reshape(len(axis), len(axis))


def midpoints(reach: float, cells: int) -> Tensor:
    """Return the middles `(cells,)` of equal cells of (-reach, reach)."""
    return (torch.arange(cells) + 0.5) * (2 * reach / cells) - reach
