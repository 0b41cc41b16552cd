"""One step of an explicit Runge-Kutta method, by the coefficients torchdiffeq uses.

| symbol | code | shape | equation |
|---|---|---|---|
| c_i | `nodes` | `(s,)` | t_i = t + c_i dt |
| a_ij | `stages` | `s` rows | y_i = y + dt sum_{j<i} a_ij k_j, k_i = f(t_i, y_i) |
| b_i | `weights` | `(s,)` | y_next = y + dt sum_i b_i k_i |
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torchdiffeq
from torch import Tensor
from torchdiffeq._impl.odeint import SOLVERS

from replications.flows.solver import ADAPTIVE

FlatField = Callable[[Tensor, Tensor], Tensor]
Step = Callable[[Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""(t_1..t_s, dt, y, k_1 where known) -> (y_next, k_s)."""

MOST_STAGES = 8
"""More than any method with fixed steps has."""


class Tableau(NamedTuple):
    """Coefficients of an explicit Runge-Kutta method.

    `carries`: the next step starts from the last slope k_s of this one, which is not f at its end point.
    """

    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    carries: bool


@torch.compiler.assume_constant_result
def tableau(method: str) -> Tableau:
    """Return the coefficients of one of torchdiffeq's one-step methods, as torchdiffeq has them."""
    return _tableau(method)


@functools.cache  # apart: torch.compile would look through a cache
def _tableau(method: str) -> Tableau:
    return _embedded(SOLVERS[method].tableau) if method in ADAPTIVE else _observed(method)


def _embedded(coefficients: Any) -> Tableau:
    """Convert the coefficients of an adaptive method.

    torchdiffeq hands the last slope of a step to the next as its first. Where the last stage is the end point
    (first same as last) the two are one number, and the stage, of weight zero, can go.
    """
    nodes = (0.0, *coefficients.alpha.tolist())
    stages = ((), *(tuple(row.tolist()) for row in coefficients.beta))
    weights = tuple(coefficients.c_sol.tolist())
    if weights == (*stages[-1], 0.0):
        return Tableau(nodes[:-1], stages[:-1], weights[:-1], False)
    return Tableau(nodes, stages, weights, True)


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

    end = torchdiffeq.odeint(
        answer, units.new_zeros(MOST_STAGES), units.new_tensor((0.0, 1.0)), method=method
    )[-1]
    return Tableau(tuple(nodes), tuple(rows), tuple(end.tolist()[: len(rows)]), False)


def rk_step(
    field: FlatField, method: str, times: Tensor, dt: Tensor, y: Tensor, slope: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return y_next and the last slope k_s.

    Args:
        field: f, on one tensor.
        method: name of the one-step method.
        times: t_1..t_s `(s,)`, in the state's type.
        dt: signed step, a scalar of the state's type.
        y: state at the start.
        slope: k_1 where it comes from the step before.
    """
    coefficients = tableau(method)
    slopes: list[Tensor] = []
    for t, row in zip(times.unbind(), coefficients.stages):
        known = slope is not None and not slopes
        slopes.append(slope if known else field(t, _advance(y, dt, row, slopes)))  # type: ignore[arg-type]
    return _advance(y, dt, coefficients.weights, slopes), slopes[-1]


def _advance(y: Tensor, dt: Tensor, weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    """Return y + dt sum_i w_i k_i."""
    terms = [(w, k) for w, k in zip(weights, slopes) if w != 0]
    if not terms:
        return y
    (w, k), *others = terms
    total = k if w == 1 else k * w
    for w, k in others:
        total = torch.add(total, k, alpha=w)
    return torch.addcmul(y, total, dt)


@functools.cache
def compiled_step() -> Callable[..., tuple[Tensor, Tensor]]:
    """Return `rk_step` through torch.compile, one graph a step.

    On the CPU it needs a C++ compiler. There is no silent way back to eager code: what can not be compiled
    raises torch's error, and so does one version too many (one for each field structure, method, shape and
    gradient mode; torch allows 8, and `torch.compiler.reset()` forgets them).
    """
    return torch.compile(rk_step, fullgraph=True, dynamic=False)
