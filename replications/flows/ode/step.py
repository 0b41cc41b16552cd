"""One step of an explicit Runge-Kutta method, by torchdiffeq's own coefficients.

| symbol | code | shape | equation |
|---|---|---|---|
| c_i | `nodes` | `(s,)` | t_i = t + c_i dt |
| a_ij | `stages` | `s` rows | y_i = y + dt sum_{j<i} a_ij k_j, k_i = f(t_i, y_i) |
| b_i | `weights` | `(s,)` | y_next = y + dt sum_i b_i k_i |
| e_i | `errors` | `(s,)` | error estimate dt sum_i e_i k_i |
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torchdiffeq
from torch import Tensor
from torchdiffeq._impl.misc import _select_initial_step
from torchdiffeq._impl.odeint import SOLVERS

from replications.flows.ode.guards import FlatField, Watch
from replications.flows.ode.solver import ADAPTIVE, Solver

MOST_STAGES = 8
"""More than any method with fixed steps has."""


class Tableau(NamedTuple):
    """Coefficients of an explicit Runge-Kutta method; `errors` only of an adaptive one, else empty.

    torchdiffeq hands an adaptive step's last slope to the next step as its first. Mostly the last stage is the
    end point (`same`, first same as last) and this is f there; otherwise it is a state of its own.
    """

    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def same(self) -> bool:
        """Whether the last stage is the end point."""
        return self.weights == (*self.stages[-1], 0.0)

    @property
    def carries(self) -> bool:
        """Whether the slope handed over is not f at the end point."""
        return bool(self.errors) and not self.same

    @property
    def needed(self) -> tuple[float, ...]:
        """The nodes of the stages that y_next, and the slope where it is a state, depend on."""
        return self.nodes[:-1] if self.same else self.nodes


def tableau(method: str) -> Tableau:
    """Return the coefficients of one of torchdiffeq's one-step methods."""
    return _tableau(method)


@functools.cache  # apart from the above: torch.compile would look through a cache
def _tableau(method: str) -> Tableau:
    return _embedded(SOLVERS[method].tableau) if method in ADAPTIVE else _observed(method)


def _embedded(coefficients: Any) -> Tableau:
    """Convert the coefficients of an adaptive method."""
    return Tableau(
        nodes=(0.0, *coefficients.alpha.tolist()),
        stages=((), *(tuple(row.tolist()) for row in coefficients.beta)),
        weights=tuple(coefficients.c_sol.tolist()),
        errors=tuple(coefficients.c_error.tolist()),
    )


def _observed(method: str) -> Tableau:
    """Read the coefficients off one step from 0 to 1 of a method with fixed steps.

    With y(0) = 0 and the i-th evaluation answered by the unit vector e_i, the i-th argument is the row a_i,
    and the result is b.
    """
    nodes: list[float] = []
    rows: list[tuple[float, ...]] = []
    units = torch.eye(MOST_STAGES, dtype=torch.float64)

    def answer(t: Tensor, y: Tensor) -> Tensor:
        nodes.append(float(t))
        rows.append(tuple(y.tolist()[: len(rows)]))
        return units[len(rows) - 1]

    end = torchdiffeq.odeint(answer, 0 * units[0], units.new_tensor((0.0, 1.0)), method=method)[-1]
    return Tableau(tuple(nodes), tuple(rows), tuple(end.tolist()[: len(rows)]), ())


def advance(
    field: FlatField, method: str, times: Tensor, dt: Tensor, y: Tensor, slope: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return y_next and the slope of the last stage.

    Args:
        field: f.
        method: name of the one-step method.
        times: t_1, t_2... `(s,)` in the state's type, of all stages or of those needed.
        dt: signed step, a scalar in the state's type.
        y: state at the start.
        slope: k_1 where the step before hands it over.
    """
    slopes, last = _slopes(field, method, times, dt, y, slope)
    coefficients = tableau(method)
    whole = len(slopes) == len(coefficients.nodes)
    return last if coefficients.same and whole else _move(y, dt, coefficients.weights, slopes), slopes[-1]


def attempt(
    field: FlatField, solver: Solver, times: Tensor, dt: Tensor, y: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y_next, the last slope, and the norm of error / (atol + rtol max(|y|, |y_next|)); at most 1 is good.

    Arguments as `advance`, with all stages and the tolerances of `solver`.
    """
    coefficients = tableau(solver.method)
    slopes, last = _slopes(field, solver.method, times, dt, y, slope)
    y_next = last if coefficients.same else _move(y, dt, coefficients.weights, slopes)
    error = _move(torch.zeros_like(y), dt, coefficients.errors, slopes)
    allowed = solver.atol + solver.rtol * torch.maximum(y.abs(), y_next.abs())
    return y_next, slopes[-1], field.norm(error / allowed)


def _slopes(
    field: FlatField, method: str, times: Tensor, dt: Tensor, y: Tensor, slope: Tensor | None
) -> tuple[list[Tensor], Tensor]:
    """Return k_1, k_2... and the state of the last stage."""
    slopes: list[Tensor] = []
    state = y
    for t, row in zip(times.unbind(), tableau(method).stages):
        if not slopes and slope is not None:
            slopes.append(slope)
        else:
            state = _move(y, dt, row, slopes)
            slopes.append(field(t, state))
    return slopes, state


def _move(y: Tensor, dt: Tensor, weights: Sequence[float], slopes: list[Tensor]) -> Tensor:
    """Return y + dt sum_i w_i k_i."""
    terms = [(w, k) for w, k in zip(weights, slopes) if w != 0]
    if not terms:
        return y
    (w, k), *others = terms
    if not others:
        return torch.addcmul(y, k, dt, value=w)
    total = k * w
    for w, k in others:
        total = torch.add(total, k, alpha=w)
    return torch.addcmul(y, total, dt)


def first_size(watch: Watch, t: float, y: Tensor, slope: Tensor) -> float:
    """Return torchdiffeq's guess of the first step, signed, for one evaluation of the field."""
    solver, sign = watch.solver, watch.sign

    def in_increasing_time(t: Tensor, y: Tensor) -> Tensor:
        return sign * watch((sign * t).to(y.dtype), y)

    start, rtol, atol = torch.tensor(
        (sign * t, solver.rtol, solver.atol), dtype=torch.float64, device=y.device
    )
    rest = SOLVERS[solver.method].order - 1, rtol, atol, watch.flat.norm, sign * slope
    return sign * float(_select_initial_step(in_increasing_time, start, y, *rest))


def next_size(method: str, size: float, ratio: float) -> float:
    """Return torchdiffeq's next step after an attempt with an error ratio r: size times 0.9 r^(-1/order).

    The factor is at most 10, at least 0.2, and at least 1 after a good attempt.
    """
    if math.isnan(ratio):
        return math.nan
    factor = 0.9 * ratio ** (-1 / SOLVERS[method].order) if ratio > 0 else 10.0
    return size * min(10.0, max(factor, 1.0 if ratio < 1 else 0.2))
