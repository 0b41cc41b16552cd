"""What is measured of flows of points: their samples against data, and their paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from bench.metrics.classification import c2st
from bench.metrics.paths import path_energy, straightness
from bench.metrics.transport import mmd, sliced_wasserstein2, wasserstein2
from replications.flows.density.cnf import CNF
from replications.flows.ode.solve import Solver, trajectory
from replications.tasks.density2d.evaluation import Array

if TYPE_CHECKING:
    from bench.execution.run import Run

PATHS = 24
"""Paths drawn in the picture."""
TURNS = 20
"""At most so many straight pieces of each."""


def distance(run: Run, ours: Tensor, theirs: Tensor, told: str) -> float:
    """Record W2 of two samples `(N, 2)` under what they are, `wasserstein2[<told>]`, and return it."""
    value, n = wasserstein2(_array(ours), _array(theirs)), len(ours)
    run.metric(f"wasserstein2[{told}]", value, f"{told}/exact/{n} points", n)
    return value


def compare(run: Run, ours: Tensor, theirs: Tensor, told: str, qualifier: str = "") -> None:
    """Record the distances between samples and as many points of the data, `(N, 2)` each.

    Args:
        run: where to.
        ours: samples.
        theirs: data.
        told: by what the samples were drawn, for the protocol.
        qualifier: of the metrics.
    """
    x, y, n, key = _array(ours), _array(theirs), len(ours), f"[{qualifier}]" if qualifier else ""
    run.metric(f"wasserstein2{key}", wasserstein2(x, y), f"{told}/exact/{n} points", n)
    sliced = sliced_wasserstein2(x, y, run.numpy_generator("directions"))
    run.metric(f"sliced_wasserstein2{key}", sliced, f"{told}/256 directions/{n} points", n)
    squared, se = mmd(x, y)
    run.metric(f"mmd{key}", squared, f"{told}/squared, unbiased, Gaussian kernel/{n} points", n, se)
    accuracy, se = c2st(x, y, run.numpy_generator("c2st"))
    run.metric(f"c2st{key}", accuracy, f"{told}/gradient-boosted trees/{n} points of each", n, se)


@torch.no_grad()
def record_paths(run: Run, flow: CNF, source: Tensor, w2: float, times: int, solver: Solver) -> None:
    """Record straightness and path energy of the paths of points of the source, and a picture of some.

    Args:
        run: where to.
        flow: between source and data.
        source: x0 `(N, 2)`, where the paths start.
        w2: distance of source and data, which the energy is compared with.
        times: at which a path is measured, its ends among them.
        solver: an adaptive method, by which the paths are solved.
    """
    s = torch.linspace(flow.T, 0, times, dtype=torch.float64, device=source.device)
    x = trajectory(flow.field, source, s, solver)
    field = cast(Callable[[Tensor, Tensor], Tensor], flow.field)
    v = torch.stack([field(at.to(x.dtype), here) for at, here in zip(s, x, strict=True)])
    path = (_array(s), _array(x), _array(v))
    told, n = f"{solver.protocol}/trapezoidal rule, {times} times/{len(source)} paths", len(source)
    value, se = straightness(*path)
    run.metric("straightness", value, told, n, se)
    value, se = path_energy(path[0], path[2], w2)
    run.metric("path_energy", value, f"{told}/W2 of {n} points", n, se)
    drawn = x[:: max(1, (times - 1) // TURNS), :PATHS].transpose(0, 1)
    run.artifact("paths", drawn)
    run.artifact("path ends", x[-1, :PATHS])


def _array(x: Tensor) -> Array:
    array: Array = x.double().cpu().numpy()
    return array
