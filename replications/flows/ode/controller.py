r"""The size of the steps of an adaptive method (hairer1993solving, II.4), as torchdiffeq chooses it.

With the norm of a state over its tolerance |y| = rms(y / (atol + rtol |y_0|)), p the order of the method and f_0 the
slope at the start:

| code | equation |
|---|---|
| h_0 | 0.01 \|y_0\| / \|f_0\|, or 1e-6 where either is below 1e-5 |
| d_2 | \|f(t + h_0, y_0 + h_0 f_0) - f_0\| / h_0 |
| `initial_step` | min(100 h_0, (0.01 / max(\|f_0\|, d_2))^(1/p)) |
| `next_step` | h min(10, max(0.9 r^(-1/p), 1 after a good step, else 0.2)), r the error over its tolerance |
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from replications.flows.ode.solver import Solver
from replications.flows.ode.tableau import tableau

SAFETY, LARGEST, SMALLEST = 0.9, 10.0, 0.2
"""Of the factor from one step to the next."""
TINY = 1e-6
"""First guess of a step where state or slope are too small to tell."""


def initial_step(
    field: Callable[[float, Tensor], Tensor],
    solver: Solver,
    t: float,
    sign: float,
    y: Tensor,
    slope: Tensor,
    norm: Callable[[Tensor], Tensor],
) -> float:
    """Return the first step, signed, for one evaluation of the field.

    Args:
        field: f(t, y).
        solver: method and tolerances.
        t: start.
        sign: of the direction of time.
        y: state at the start.
        slope: f(t, y).
        norm: of a state, scaled already.
    """
    order = tableau(solver.method).order
    scale = solver.atol + y.abs() * solver.rtol
    d_0, d_1 = float(norm(y / scale)), float(norm(slope / scale))
    h_0 = TINY if d_0 < 1e-5 or d_1 < 1e-5 else 0.01 * d_0 / d_1
    later = field(t + sign * h_0, y + sign * h_0 * slope)
    d_2 = float(norm((later - slope) / scale)) / h_0
    largest = max(d_1, d_2)
    h_1 = max(TINY, 1e-3 * h_0) if largest <= 1e-15 else (0.01 / largest) ** (1 / order)
    return sign * min(100 * h_0, h_1)


def next_step(method: str, size: float, ratio: float) -> float:
    """Return the step after one of some size whose error was `ratio` times what the tolerance allows."""
    if math.isnan(ratio):
        return math.nan
    factor = SAFETY * ratio ** (-1 / tableau(method).order) if ratio > 0 else LARGEST
    return size * min(LARGEST, max(factor, 1.0 if ratio < 1 else SMALLEST))
