"""The comparison of ODE solvers: error, cost, order, tolerance, stability.

| name           | method                                                            | step     | order |
|----------------|-------------------------------------------------------------------|----------|-------|
| euler          | h + dt f                                                          | fixed    | 1     |
| midpoint       | h + dt f(t + dt/2, h + dt/2 f)                                    | fixed    | 2     |
| rk4            | the classical weights 1/6, 1/3, 1/3, 1/6, as in the lecture       | fixed    | 4     |
| rk4_38         | torchdiffeq's "rk4", which is the 3/8 rule                        | fixed    | 4     |
| explicit_adams | torchdiffeq's Adams-Bashforth, started by rk4_38, up to order 12  | fixed    | varies |
| implicit_adams | the same with a Moulton corrector, iterated as a fixed point      | fixed    | varies |
| dopri5         | Dormand-Prince 5(4)                                               | adaptive | 5     |
| bdf            | SciPy's backward differentiation formulas, implicit               | adaptive | 1-5   |
| radau          | SciPy's Radau IIA, implicit                                       | adaptive | 5     |

Errors are in the largest component, |y - h(t)| = max_i |y_i - h_i(t)|; everything is computed in float64.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.measure.clock import time_repeats
from bench.stats import fit_exponent
from replications.flows.errors import SolveFailure
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver, trajectory
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

FIXED = {"euler": "euler", "midpoint": "midpoint", "rk4": "", "rk4_38": "rk4",
         "explicit_adams": "explicit_adams", "implicit_adams": "implicit_adams"}  # fmt: skip
ADAPTIVE = {"dopri5": "dopri5", "bdf": "scipy:BDF", "radau": "scipy:Radau"}
METHODS = (*FIXED, *ADAPTIVE)
MULTISTEP = ("explicit_adams", "implicit_adams")
LECTURE_POINTS = {"decay": 100, "forced": 200, "forced_printed": 200}
ROUNDING = 1e-12
"""Errors below are rounding more than truncation, and take no part in a fitted order."""


@dataclass(frozen=True)
class Solution:
    """A computed solution at output times, and what it cost."""

    times: Tensor
    states: Tensor
    errors: Tensor
    nfe: int

    @property
    def max_error(self) -> float:
        """Largest error over the output times."""
        return float(self.errors.max())


def classical_rk4(field: Callable[[Any, Any], Any], h: Tensor, times: Tensor) -> Tensor:
    """Return the states `(N, d)` at the times `(N,)`, one step of the classical method between two of them.

    k_1 = f(t, h), k_2 = f(t + dt/2, h + dt k_1/2), k_3 = f(t + dt/2, h + dt k_2/2),
    k_4 = f(t + dt, h + dt k_3), h <- h + dt (k_1 + 2 k_2 + 2 k_3 + k_4) / 6.
    """
    states = [h]
    for t, dt in zip(times[:-1], times.diff(), strict=True):
        k_1 = field(t, h)
        k_2 = field(t + dt / 2, h + dt / 2 * k_1)
        k_3 = field(t + dt / 2, h + dt / 2 * k_2)
        k_4 = field(t + dt, h + dt * k_3)
        h = h + dt / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4)
        states.append(h)
    return torch.stack(states)


def integrate(problem: Problem, method: str, times: Tensor, rtol: float = 1e-3) -> Solution:
    """Solve a problem with a method.

    A method with a fixed step takes one between two times; an adaptive one has tolerances rtol and rtol / 10.
    """
    counter = Counter()
    states = _states(problem, problem.initial(), method, times, rtol, counter)
    errors = (states - problem.exact(times)).abs().amax(dim=1)
    return Solution(times, states, errors, counter.forward_evaluations)


@torch.no_grad()
def _states(
    field: Callable[[Any, Any], Any],
    initial: Tensor,
    method: str,
    times: Tensor,
    rtol: float,
    counter: Counter,
) -> Tensor:
    if method == "rk4":
        counter.count(4 * (len(times) - 1))
        return classical_rk4(field, initial, times)
    solver = solver_of(method, rtol)
    with warnings.catch_warnings():
        # The corrector's fixed-point iteration says where it gave up; that is what the errors show.
        warnings.filterwarnings("ignore", message="Functional iteration did not converge")
        states = trajectory(field, initial, times, solver, counter)
    assert isinstance(states, Tensor)
    return states


def solver_of(method: str, rtol: float) -> Solver:
    """Return the solver of a name, but for `rk4`, which is written out here.

    dopri5 interpolates at the output times: a step that had to end on each of them would hide what it chooses.
    """
    if method in FIXED:
        return Solver(FIXED[method])
    return Solver(ADAPTIVE[method], rtol=rtol, atol=rtol / 10, step_to_end=False)


def grid(t1: float, steps: int) -> Tensor:
    """Return steps + 1 equally spaced times from 0 to t1."""
    return torch.linspace(0, t1, steps + 1, dtype=torch.float64)


def run(run: Run, config: SolverConfig) -> None:
    """Measure one solver; records metrics and curves."""
    drawn = problems(config.dim, run.torch_generator("problem"))
    lecture_setup(run, config.method)
    if config.method in FIXED:
        orders(run, config, drawn.values())
        run.metric("stability_limit", stability_limit(config.method), "largest rate x step, real axis")
    else:
        ladders(run, config, drawn.values())
        stiff(run, config)


def lecture_setup(run: Run, method: str) -> None:
    """Record error, cost and time on the lecture's problems at its 100 and 200 points."""
    for problem in (Decay(), Forced(), ForcedPrinted()):
        points = LECTURE_POINTS[problem.name]
        times = grid(problem.t1, points - 1)
        solution = integrate(problem, method, times)
        key = f"{problem.name}/{points - 1}"
        protocol = f"{points} points/" + ("one step each" if method in FIXED else "rtol 1e-3, atol 1e-4")
        run.metric(f"max_error[{key}]", solution.max_error, protocol)
        run.metric(f"mean_error[{key}]", float(solution.errors.mean()), protocol)
        run.metric(f"nfe[{key}]", solution.nfe, protocol)
        if problem.name != "forced_printed":
            timing = time_repeats(partial(integrate, problem, method, times), repeats=3)
            run.metric(f"solve_time[{key}]", timing.median, protocol, n=timing.n)


def orders(run: Run, config: SolverConfig, drawn: Iterable[Problem]) -> None:
    """Record the observed global and local order on every problem, and error against step and cost."""
    for problem in drawn:
        solutions = _ladder(problem, config.method, config.steps)
        sizes = [problem.t1 / n for n in solutions]
        final = [float(s.errors[-1]) for s in solutions.values()]
        errors = [s.max_error for s in solutions.values()]
        name = problem.name
        run.curve(f"error_against_step[{name}]", sizes, final, "step", "error at the final time")
        nfe = [s.nfe for s in solutions.values()]
        run.curve(f"error_against_nfe[{name}]", nfe, errors, "evaluations", "max error")
        if config.method not in MULTISTEP:  # their order rises along the solve, so no power law fits
            local = _one_step(problem, config.method, sizes)
            _fitted_order(run, f"order_observed[{name}]", sizes, final, "final time")
            _fitted_order(run, f"order_local[{name}]", sizes, local, "one step")


def _ladder(problem: Problem, method: str, steps: Iterable[int]) -> dict[int, Solution]:
    """Solve with each number of steps; one at which the solution overflows or is worse than none is left out."""
    found = {}
    for n in steps:
        with suppress(SolveFailure):
            solution = integrate(problem, method, grid(problem.t1, n))
            if solution.max_error < 1:
                found[n] = solution
    return found


def _one_step(problem: Problem, method: str, sizes: Sequence[float]) -> list[float]:
    return [integrate(problem, method, grid(size, 1)).max_error for size in sizes]


def _fitted_order(run: Run, key: str, sizes: Sequence[float], errors: Sequence[float], what: str) -> None:
    """Record the slope of log error against log step, over the errors that rounding does not hide."""
    pairs = [(size, error) for size, error in zip(sizes, errors, strict=True) if error > ROUNDING]
    if len(pairs) < 2:
        return
    fit = fit_exponent(*zip(*pairs, strict=True))
    run.metric(key, fit.slope, f"log-log fit, error at {what}", n=fit.n, se=fit.slope_se)


def ladders(run: Run, config: SolverConfig, drawn: Iterable[Problem]) -> None:
    """Record error and cost down the tolerances on every problem."""
    for problem in drawn:
        times = grid(problem.t1, LECTURE_POINTS["forced"] - 1)
        solutions = {rtol: integrate(problem, config.method, times, rtol) for rtol in config.tolerances}
        errors, nfe = [s.max_error for s in solutions.values()], [s.nfe for s in solutions.values()]
        name, rtols = problem.name, config.tolerances
        run.curve(f"error_against_nfe[{name}]", nfe, errors, "evaluations", "max error")
        run.curve(f"error_against_tolerance[{name}]", rtols, errors, "rtol", "max error")
        run.curve(f"nfe_against_tolerance[{name}]", rtols, nfe, "rtol", "evaluations")
        for what, values in (("error", errors), ("nfe", nfe)):
            fit = fit_exponent(rtols, values)
            run.metric(
                f"trend_slope[{name}/{what}]", fit.slope, "log-log fit against rtol", n=fit.n, se=fit.slope_se
            )
        for rtol, solution in solutions.items():
            _tolerance_metrics(run, name, rtol, solution)


def _tolerance_metrics(run: Run, name: str, rtol: float, solution: Solution) -> None:
    run.metric(f"max_error[{name}/{_power(rtol)}]", solution.max_error, "rtol, atol = rtol/10, 200 points")
    run.metric(f"nfe[{name}/{_power(rtol)}]", solution.nfe, "rtol, atol = rtol/10")


def _power(rtol: float) -> str:
    """1e-3 rather than Python's 0.001 or 1e-03."""
    return f"1e{round(math.log10(rtol))}"


def stiff(run: Run, config: SolverConfig) -> None:
    """Record error and cost on the stiff problems."""
    for problem in (stiff_linear(config.rate), VanDerPol(config.mu)):
        times = grid(problem.t1, LECTURE_POINTS["forced"] - 1)
        for rtol in config.stiff_tolerances:
            _tolerance_metrics(run, problem.name, rtol, integrate(problem, config.method, times, rtol))


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
