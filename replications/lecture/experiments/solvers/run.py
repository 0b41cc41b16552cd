"""Experiment `lecture.solvers`: error, cost, order, tolerance and stability of ODE solvers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.measure.clock import time_repeats
from bench.stats import Fit, fit_exponent
from replications.lecture.experiments.solvers.measured import (
    StepLadder,
    observed_order,
    stability_limit,
    step_ladder,
    tolerance_ladder,
)
from replications.lecture.experiments.solvers.methods import FIXED, MULTISTEP, Solution, grid, integrate
from replications.lecture.experiments.solvers.problems import (
    Decay,
    Forced,
    ForcedPrinted,
    Problem,
    VanDerPol,
    problems,
    stiff_linear,
)

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.lecture.experiments.solvers.declaration import SolverConfig

LECTURE_POINTS = {"decay": 100, "forced": 200, "forced_printed": 200}
"""Output times of the lecture's problems."""
POINTS = 200
"""Output times of all others."""


def run(run: Run, config: SolverConfig) -> None:
    """Measure one solver; record metrics and curves."""
    drawn = problems(config.dim, run.torch_generator("problem")).values()
    method = config.method
    problem: Problem
    for problem in (Decay(), Forced(), ForcedPrinted()):
        times = grid(problem.t1, LECTURE_POINTS[problem.name] - 1)
        solve = partial(integrate, problem, method, times)
        record_lecture_setting(run, problem.name, method, solve())
        if problem.name != "forced_printed":  # it is solved as `forced` is
            timing = time_repeats(solve, repeats=3)
            record_time(run, problem.name, method, len(times), timing.median, timing.n)
    if method in FIXED:
        for problem in drawn:
            record_steps(run, problem.name, method, step_ladder(problem, method, config.steps))
        run.metric("stability_limit", stability_limit(method), "largest rate x step, real axis")
        return
    for problem in drawn:
        solutions = tolerance_ladder(problem, method, config.tolerances, POINTS)
        record_tolerances(run, problem.name, config.tolerances, solutions)
    for problem in (stiff_linear(config.rate), VanDerPol(config.mu)):
        solutions = tolerance_ladder(problem, method, config.stiff_tolerances, POINTS)
        for rtol, solution in zip(config.stiff_tolerances, solutions, strict=True):
            record_solution(run, problem.name, rtol, solution)


def setting(method: str, points: int) -> str:
    """Return the protocol of the lecture's own setting."""
    return f"{points} points/" + ("one step each" if method in FIXED else "rtol 1e-3, atol 1e-4")


def record_lecture_setting(run: Run, name: str, method: str, solution: Solution) -> None:
    """Record error and cost on a problem of the lecture at its output times."""
    points = len(solution.times)
    key, protocol = f"{name}/{points - 1}", setting(method, points)
    run.metric(f"max_error[{key}]", solution.max_error, protocol)
    run.metric(f"mean_error[{key}]", float(solution.errors.mean()), protocol)
    run.metric(f"nfe[{key}]", solution.nfe, protocol)


def record_time(run: Run, name: str, method: str, points: int, seconds: float, n: int) -> None:
    """Record the median time of n solves in the lecture's setting."""
    run.metric(f"solve_time[{name}/{points - 1}]", seconds, setting(method, points), n=n)


def record_steps(run: Run, name: str, method: str, found: StepLadder) -> None:
    """Record error against step and cost on a problem, and the observed global and local order."""
    run.curve(f"error_against_step[{name}]", found.sizes, found.final, "step", "error at the final time")
    run.curve(f"error_against_nfe[{name}]", found.nfe, found.largest, "evaluations", "max error")
    if method in MULTISTEP:
        return
    for key, errors, what in (
        (f"order_observed[{name}]", found.final, "final time"),
        (f"order_local[{name}]", found.local, "one step"),
    ):
        fit = observed_order(found.sizes, errors)
        if fit is not None:
            run.metric(key, fit.slope, f"log-log fit, error at {what}", n=fit.n, se=fit.slope_se)


def record_tolerances(run: Run, name: str, tolerances: Sequence[float], found: Sequence[Solution]) -> None:
    """Record error and cost down the tolerances on a problem, and the exponents of the tolerance that fit them."""
    errors, nfe = [s.max_error for s in found], [s.nfe for s in found]
    run.curve(f"error_against_nfe[{name}]", nfe, errors, "evaluations", "max error")
    run.curve(f"error_against_tolerance[{name}]", tolerances, errors, "rtol", "max error")
    run.curve(f"nfe_against_tolerance[{name}]", tolerances, nfe, "rtol", "evaluations")
    record_trend(run, f"{name}/error", fit_exponent(tolerances, errors))
    record_trend(run, f"{name}/nfe", fit_exponent(tolerances, nfe))
    for rtol, solution in zip(tolerances, found, strict=True):
        record_solution(run, name, rtol, solution)


def record_trend(run: Run, key: str, fit: Fit) -> None:
    """Record a fitted exponent of the relative tolerance."""
    run.metric(f"trend_slope[{key}]", fit.slope, "log-log fit against rtol", n=fit.n, se=fit.slope_se)


def record_solution(run: Run, name: str, rtol: float, solution: Solution) -> None:
    """Record error and cost of one solve at a relative tolerance, written 1e-3 where Python writes 0.001."""
    key = f"{name}/1e{round(math.log10(rtol))}"
    run.metric(f"max_error[{key}]", solution.max_error, f"rtol, atol = rtol/10, {len(solution.times)} points")
    run.metric(f"nfe[{key}]", solution.nfe, "rtol, atol = rtol/10")
