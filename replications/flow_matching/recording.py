"""Where what is measured of flows of points gets its metric name and its protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from replications.flow_matching.points import Distances, Paths, Sampled
from replications.flows.ode.solver import Solver
from replications.tasks.recording import record_inversion

if TYPE_CHECKING:
    from bench.execution.run import Run

PATHS = 24
"""Paths drawn in the picture."""
PIECES = 20
"""At most so many straight pieces of each."""


def record_w2(run: Run, value: float, name: str, n: int) -> None:
    """Record W_2 between two samples of n points each under what they are, `wasserstein2[<name>]`."""
    run.metric(f"wasserstein2[{name}]", value, f"{name}/exact/{n} points", n)


def record_debiased_w2(
    run: Run, found: tuple[float, float | None], qualifier: str, protocol: str, shape: Sequence[int]
) -> None:
    """Record the debiased W_2^2 of sets `(B, N, D)`, with its standard error.

    Args:
        run: where to.
        found: both.
        qualifier: of the metric.
        protocol: by what the samples were drawn.
        shape: of the sets.
    """
    sets, n, _ = shape
    key = f"[{qualifier}]" if qualifier else ""
    measured = f"{protocol}/squared, debiased, exact/{sets} sets of {n} points"
    run.metric(f"debiased_wasserstein2{key}", found[0], measured, sets * n, found[1])


def record_distances(run: Run, found: Distances, n: int, protocol: str, qualifier: str = "") -> None:
    """Record the distances between n samples and n points of the data.

    Args:
        run: where to.
        found: the distances.
        n: points of each.
        protocol: by what the samples were drawn.
        qualifier: of the metrics.
    """
    key = f"[{qualifier}]" if qualifier else ""
    run.metric(f"wasserstein2{key}", found.wasserstein2, f"{protocol}/exact/{n} points", n)
    sliced = f"{protocol}/256 directions/{n} points"
    run.metric(f"sliced_wasserstein2{key}", found.sliced_wasserstein2, sliced, n)
    kernel = f"{protocol}/squared, unbiased, Gaussian kernel/{n} points"
    run.metric(f"mmd{key}", found.mmd, kernel, n, found.mmd_se)
    trees = f"{protocol}/gradient-boosted trees/{n} points of each"
    run.metric(f"c2st{key}", found.c2st, trees, n, found.c2st_se)


def record_sampled(run: Run, found: Sampled, solver: Solver, repeats: int, qualifier: str = "") -> None:
    """Record NFE and time of samples that one solver drew together, the time a median over the repeats.

    Of a solver that chooses its steps, also whether the flow inverts: without that its NFE means little.
    """
    key, n = f"[{qualifier}]" if qualifier else "", len(found.points)
    run.metric(f"nfe{key}", found.nfe, f"{solver.protocol}/{n} points together")
    timed = f"{solver.protocol}/{n} points/median of {repeats}"
    run.metric(f"sampling_time{key}", found.seconds, timed, n)
    if not solver.fixed:
        record_inversion(run, found.inversion, f"{solver.protocol}/base to samples and back", qualifier)


def record_paths(run: Run, found: Paths, solver: Solver) -> None:
    """Record straightness and energy of paths, and keep a picture of some: `(paths, times, D)`, and their ends."""
    times, n, _ = found.states.shape
    protocol = f"{solver.protocol}/trapezoidal rule, {times} times/{n} paths"
    run.metric("straightness", found.straightness, protocol, n, found.straightness_se)
    run.metric("path_energy", found.energy, f"{protocol}/W2 of {n} points", n, found.energy_se)
    drawn = found.states[:: max(1, (times - 1) // PIECES), :PATHS]
    run.artifact("paths", drawn.transpose(0, 1))
    run.artifact("path ends", found.states[-1, :PATHS])
