r"""What is measured of flows of points: values, computed from flow, points and integration alone.

| quantity | code | equation |
|---|---|---|
| W_2 | `w2` | (min_pi mean_i \|x_i - y_pi(i)\|^2)^(1/2), pi a permutation |
| distances | `Distances` | of samples from as many points of the data |
| NFE | `Sampled.nfe` | evaluations of the field in one solve of all samples together |
| straightness | `Paths.straightness` | E integral \|x(1) - x(0) - v\|^2 dt, mean over the paths |
| path energy | `Paths.energy` | \|E integral \|v\|^2 dt - W_2^2\| / W_2^2 |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from bench.measure.clock import time_repeats
from bench.metrics.classification import c2st
from bench.metrics.paths import path_energy, straightness
from bench.metrics.transport import debiased_wasserstein2, mmd, sliced_wasserstein2, wasserstein2
from replications.flows.density.cnf import CNF
from replications.flows.density.integration import Integration
from replications.flows.ode.solve import trajectory
from replications.flows.ode.solver import Solver
from replications.tasks.density2d.evaluation import as_array


class Distances(NamedTuple):
    """Distances between n samples and n points of the data; MMD, squared, and C2ST with their standard errors."""

    wasserstein2: float
    sliced_wasserstein2: float
    mmd: float
    mmd_se: float
    c2st: float
    c2st_se: float


def w2(samples: Tensor, data: Tensor) -> float:
    """Return W_2 of samples and as many points of the data, `(n, D)` each."""
    return wasserstein2(as_array(samples), as_array(data))


def debiased_w2(samples: Tensor, data: Tensor) -> tuple[float, float | None]:
    """Return the debiased W_2^2 of sets of samples and of the data, `(B, N, D)` each, and its standard error."""
    return debiased_wasserstein2(as_array(samples), as_array(data))


def distances(
    samples: Tensor, data: Tensor, directions: np.random.Generator, classifier: np.random.Generator
) -> Distances:
    """Return how far samples are from as many points of the data, `(n, D)` each.

    Args:
        samples: of a flow.
        data: other points of the law that the flow learned.
        directions: draws the directions of the sliced distance.
        classifier: draws the halves of the classifier's training and test.
    """
    x, y = as_array(samples), as_array(data)
    sliced = sliced_wasserstein2(x, y, directions)
    return Distances(wasserstein2(x, y), sliced, *mmd(x, y), *c2st(x, y, classifier))


class Sampled(NamedTuple):
    """Samples `(n, D)`, the NFE of their solve, the median time of it in seconds, and how far it is from reversible.

    `inversion` holds the Euclidean distance of each point of the base from where its sample's code lies, `(n,)`.
    """

    points: Tensor
    nfe: int
    seconds: float
    inversion: Tensor


@torch.no_grad()
def sampled(flow: CNF, base: Tensor, integration: Integration, repeats: int) -> Sampled:
    """Return the samples from points of the base `(n, D)`, all solved together, and what they cost.

    Args:
        flow: in evaluation mode.
        base: z.
        integration: of the solve.
        repeats: timed solves.
    """
    flow.counter.reset()
    points = flow.decode(base, integration)
    nfe = flow.counter.forward_evaluations
    timing = time_repeats(partial(flow.decode, base, integration), device=base.device, repeats=repeats)
    inversion = (flow.encode(points, integration) - base).double().norm(dim=1)
    return Sampled(points, nfe, timing.median, inversion)


class FewSteps(NamedTuple):
    """What so many equal steps of a method give: the NFE, samples `(n, D)`, their W_2 from the data."""

    nfe: int
    points: Tensor
    wasserstein2: float


@torch.no_grad()
def by_few_steps(flow: CNF, base: Tensor, data: Tensor, method: str, steps: Sequence[int]) -> list[FewSteps]:
    """Return what each number of steps gives, from points of the base and beside as many of the data, `(n, D)` each."""
    found = []
    for number in steps:
        flow.counter.reset()
        points = flow.decode(base, equal_steps(method, number))
        found.append(FewSteps(flow.counter.forward_evaluations, points, w2(points, data)))
    return found


def equal_steps(method: str, steps: int) -> Integration:
    """Return integration by so many equal steps."""
    return Integration(Solver(method, steps=steps))


class Paths(NamedTuple):
    """Paths of points from base to data, `(times, n, D)`; straightness and energy with their standard errors."""

    states: Tensor
    straightness: float
    straightness_se: float
    energy: float
    energy_se: float


@torch.no_grad()
def paths(flow: CNF, base: Tensor, w2: float, times: int, solver: Solver) -> Paths:
    """Return the paths of points of the base, how straight they are, and how much longer than optimal.

    Args:
        flow: between base and data.
        base: x0 `(n, D)`, where the paths start.
        w2: distance of base and data, which the energy is compared with.
        times: at which a path is measured, its ends among them.
        solver: an adaptive method, by which the paths are solved.
    """
    s = torch.linspace(flow.T, 0, times, dtype=torch.float64, device=base.device)
    x = trajectory(flow.field, base, s, solver)
    field = cast(Callable[[Tensor, Tensor], Tensor], flow.field)
    v = torch.stack([field(at.to(x.dtype), here) for at, here in zip(s, x, strict=True)])
    positions, velocities = as_array(x), as_array(v)
    return Paths(x, *straightness(s.cpu(), positions, velocities), *path_energy(s.cpu(), velocities, w2))
