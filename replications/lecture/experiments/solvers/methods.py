"""The ODE solvers that are compared, and a solve by one of them.

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

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver, trajectory
from replications.lecture.experiments.solvers.problems import Problem

FIXED = {"euler": "euler", "midpoint": "midpoint", "rk4": "", "rk4_38": "rk4",
         "explicit_adams": "explicit_adams", "implicit_adams": "implicit_adams"}  # fmt: skip
"""Method with a fixed step -> the solver's name, but for `rk4`, which is written out here."""
ADAPTIVE = {"dopri5": "dopri5", "bdf": "scipy:BDF", "radau": "scipy:Radau"}
"""Adaptive method -> the solver's name."""
METHODS = (*FIXED, *ADAPTIVE)
MULTISTEP = ("explicit_adams", "implicit_adams")
"""Methods whose order rises along a solve, so that no power law fits their errors."""


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
