"""Picard iteration and the Picard-Lindelöf bound, for right-hand sides whose solution is known.

| symbol | code | shape | equation |
|---|---|---|---|
| x_n | `x` | `(nodes, D)` | x_{n+1}(t) = x_0 + int_0^t f(s, x_n(s)) ds |
| L | `lipschitz` | scalar | abs(f(t, x) - f(t, y)) <= L abs(x - y) |
| E_n | `errors[n]` | scalar | max over t of abs(x_n(t) - x(t)) |
| bound | `bounds[n]` | scalar | E_n <= (L T)^n / n! E_0 |

Functions of time live as values at Chebyshev points; their integral is that of the interpolating polynomial, exact
to rounding for the smooth functions here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from replications.blog.linear import solution

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.blog.experiments.theory.declaration import Theory

Array = NDArray[np.float64]
ROUNDING = 1e-12
"""Differences below this are rounding, not iteration error; the bound is compared above it."""


@dataclass(frozen=True)
class Problem:
    """An initial value problem x' = f(t, x), x(0) = start, its solution, and a Lipschitz constant on [0, T]."""

    name: str
    field: Callable[[Array, Array], Array]
    start: Array
    solution: Callable[[Array], Array]
    lipschitz: float


def integration_matrix(nodes: int, horizon: float) -> tuple[Array, Array]:
    """Return the Chebyshev points t `(nodes,)` of [0, T] and S `(nodes, nodes)`, (S g)_i = int_0^{t_i} g."""
    unit = chebyshev.chebpts2(nodes)
    coefficients = np.linalg.inv(chebyshev.chebvander(unit, nodes - 1))  # values -> coefficients
    integrals = chebyshev.chebint(coefficients, lbnd=-1, axis=0)
    matrix = np.asarray(horizon / 2 * chebyshev.chebvander(unit, nodes) @ integrals, dtype=np.float64)
    return horizon * (unit + 1) / 2, matrix


def iterate(problem: Problem, first: Array, times: Array, matrix: Array, count: int) -> list[Array]:
    """Return x_0 = `first` and the `count` Picard iterates after it, each `(nodes, D)`."""
    found = [first]
    for _ in range(count):
        found.append(problem.start + matrix @ problem.field(times, found[-1]))
    return found


def problems(generator: np.random.Generator, lipschitz: float, horizon: float) -> tuple[Problem, ...]:
    """Return a random linear system, x' = -2 t x and x' = sin x, with random starts."""
    a = generator.normal(size=(2, 2))
    a *= lipschitz / np.linalg.norm(a, 2)
    start = generator.normal(size=2)
    scalar, angle = generator.uniform(0.5, 2.0, size=(2, 1))
    return (
        Problem("linear", lambda t, x: x @ a.T, start, lambda t: solution(a, start, t), lipschitz),
        Problem(
            "timed",
            lambda t, x: -2 * t[:, None] * x,
            scalar,
            lambda t: scalar * np.exp(-(t[:, None] ** 2)),
            2 * horizon,
        ),
        Problem(
            "sine",
            lambda t, x: np.sin(x),
            angle,
            lambda t: 2 * np.arctan(np.tan(angle / 2) * np.exp(t[:, None])),
            1.0,
        ),
    )


def distance(x: Array, y: Array) -> float:
    """Return the largest Euclidean distance over the nodes, of two functions `(nodes, D)`."""
    return float(np.linalg.norm(x - y, axis=1).max())


def run_picard(run: Run, config: Theory) -> None:
    """Measure the error of every iterate against the solution and the bound, and show where uniqueness fails."""
    times, matrix = integration_matrix(config.nodes, config.horizon)
    for problem in problems(run.numpy_generator("problems"), config.lipschitz, config.horizon):
        first = np.broadcast_to(problem.start, (len(times), len(problem.start)))
        found = iterate(problem, first, times, matrix, config.iterates)
        _report(run, problem, found, times, config.horizon)
        for n, x in enumerate(found[:6]):
            run.curve(f"iterate[{problem.name}, {n}]", times, x[:, 0], "t", "x_n(t)")
        run.curve(f"solution[{problem.name}]", times, problem.solution(times)[:, 0], "t", "x(t)")
    _two_solutions(run, config, times, matrix)


def _report(run: Run, problem: Problem, found: list[Array], times: Array, horizon: float) -> None:
    exact, name = problem.solution(times), problem.name
    errors = [distance(x, exact) for x in found]
    lt = problem.lipschitz * horizon
    bounds = [lt**n / math.factorial(n) * errors[0] for n in range(len(found))]
    steps = [distance(x, y) for x, y in zip(found[1:], found)]
    factors = [b / a for a, b in itertools.pairwise(steps) if b > ROUNDING]
    n, protocol = range(len(found)), f"picard/chebyshev-{len(times)}"
    run.curve(f"error[{name}]", n, errors, "n", "max_t |x_n - x|")
    run.curve(f"bound[{name}]", n, bounds, "n", "(L T)^n / n! E_0")
    run.metric(f"max_error[{name}, last iterate]", errors[-1], protocol)
    worst = max(e / b for e, b in zip(errors[1:], bounds[1:]) if b > ROUNDING)  # E_0 is its own bound
    run.metric(f"ratio[{name}: error/bound]", worst, f"{protocol}/largest over n")
    run.metric(f"contraction_factor[{name}]", max(factors), f"{protocol}/largest over n")
    run.metric(f"ratio[{name}: contraction/LT]", max(factors) / lt, f"{protocol}/largest over n")


def _two_solutions(run: Run, config: Theory, times: Array, matrix: Array) -> None:
    """x' = sqrt|x|, x(0) = 0 is not Lipschitz at 0; the limit depends on where the iteration starts."""
    problem = Problem("root", lambda t, x: np.sqrt(np.abs(x)), np.zeros(1), np.zeros_like, np.inf)
    quarter = times[:, None] ** 2 / 4
    for label, first, limit in (("zero", 0 * quarter, 0 * quarter), ("t^2/4", 4 * quarter, quarter)):
        last = iterate(problem, first, times, matrix, config.restarts)[-1]
        protocol = f"picard/chebyshev-{len(times)}/{config.restarts} iterates"
        run.metric(f"max_error[root: {label}]", distance(last, limit), protocol)
        run.curve(f"solution[root: {label}]", times, last[:, 0], "t", "x(t)")
