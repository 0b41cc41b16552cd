r"""Orders, ladders of tolerances and stability of a method: values, computed from method and problem alone.

| quantity | code | equation |
|---|---|---|
| global error | `StepLadder.final` | \|y_N - h(t1)\| after N equal steps to t1 |
| local error | `StepLadder.local` | \|y_1 - h(dt)\| after one step dt = t1 / N from t = 0 |
| observed order | `observed_order` | p of the least-squares line log error = log C + p log dt |
| stability limit | `stability_limit` | largest z with \|y_N\| <= 1 after many steps dt = z of h' = -h, h(0) = 1 |
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from bench.stats import Fit, fit_exponent
from replications.flows.errors import SolveFailure
from replications.lecture.experiments.solvers.methods import Solution, grid, integrate
from replications.lecture.experiments.solvers.problems import Decay, Problem

ROUNDING = 1e-12
"""Errors below are rounding more than truncation, and take no part in a fitted order."""
WORTHLESS = 1.0
"""A solution whose error reaches this is no better than none, where all problems have solutions near one."""


@dataclass(frozen=True)
class StepLadder:
    """Of each step size: error at t1, largest error, evaluations, and the error of a single step of that size."""

    sizes: list[float]
    final: list[float]
    largest: list[float]
    nfe: list[int]
    local: list[float]


def step_ladder(problem: Problem, method: str, steps: Sequence[int]) -> StepLadder:
    """Solve a problem with each number of equal steps; one at which the solution is worthless is left out."""
    found: dict[int, Solution] = {}
    for n in steps:
        with suppress(SolveFailure):  # it overflowed
            solution = integrate(problem, method, grid(problem.t1, n))
            if solution.max_error < WORTHLESS:
                found[n] = solution
    sizes, solutions = [problem.t1 / n for n in found], list(found.values())
    return StepLadder(
        sizes,
        [float(s.errors[-1]) for s in solutions],
        [s.max_error for s in solutions],
        [s.nfe for s in solutions],
        [integrate(problem, method, grid(size, 1)).max_error for size in sizes],
    )


def observed_order(sizes: Sequence[float], errors: Sequence[float]) -> Fit | None:
    """Return the slope of log error against log step, over errors that rounding does not hide; None for fewer than two.

    Args:
        sizes: of the steps.
        errors: of each.
    """
    pairs = [(size, error) for size, error in zip(sizes, errors, strict=True) if error > ROUNDING]
    return fit_exponent(*zip(*pairs, strict=True)) if len(pairs) > 1 else None


def tolerance_ladder(
    problem: Problem, method: str, tolerances: Sequence[float], points: int
) -> list[Solution]:
    """Solve a problem with each relative tolerance, read at equally spaced times of [0, t1]."""
    times = grid(problem.t1, points - 1)
    return [integrate(problem, method, times, rtol) for rtol in tolerances]


def stability_limit(method: str, steps: int = 200, bisections: int = 11) -> float:
    """Return the largest step z at which a method keeps h' = -h, h(0) = 1, at or below 1, by bisection.

    On h' = -lambda h the step must stay below z / lambda: 2 for Euler and midpoint, 2.785 for both RK4.
    """
    low, high = 0.0, 4.0
    for _ in range(bisections):
        z = (low + high) / 2
        low, high = (z, high) if _bounded(method, z, steps) else (low, z)
    return low


def _bounded(method: str, z: float, steps: int) -> bool:
    try:
        end = integrate(Decay(t1=z * steps), method, grid(z * steps, steps)).states[-1]
    except SolveFailure:  # the state overflowed
        return False
    return bool(end.abs() <= 1)
