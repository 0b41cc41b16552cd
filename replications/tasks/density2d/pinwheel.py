r"""The density of the set `pinwheel` of `bench.data.toy2d`, by a change of variables.

| symbol | code | equation |
|---|---|---|
| a, b | | along an arm, N(1, 0.3^2), and across, N(0, 0.1^2) |
| x | `x` | 2 R(-theta) (a, b), theta = 2 pi k/5 + exp(a)/4, k uniform in 0..4, R(angle) a rotation |
| rho, psi | `radius`, `angle` | polar coordinates of x / 2 |
| beta | `beta` | angle of (a, b): a = rho cos(beta), b = rho sin(beta) |
| F | `_turned` | F(beta) = beta - exp(rho cos(beta))/4, the angle of x up to multiples of 2 pi/5 |
| q(x) | `log_density` | 1/4 1/5 sum over all beta with F(beta) = psi mod 2 pi/5 of N(a) N(b) / abs(1 + b exp(a)/4) |

1 + b exp(a)/4 = F'(beta) is the Jacobian determinant of x / 2 by (a, b). It is zero only where N(a) N(b) < 1e-8 of its
maximum, on a curve off which q is finite. Two roots closer than 0.01 to such a point may be missed together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BRACKETS = 720
"""Parts of [-pi, pi] in which roots are looked for."""
HALVINGS = 48
"""Of a part in which a root is."""
ARM = 2 * np.pi / 5
"""Angle between two arms."""


def log_density(x: Array) -> Array:
    """Return log q(x) `(N,)` in nats of points `(N, 2)`; -inf where none are drawn."""
    radius, angle = np.hypot(*x.T) / 2, np.arctan2(x[:, 1], x[:, 0])
    point, beta = _roots(radius, angle)
    a, b = radius[point] * np.cos(beta), radius[point] * np.sin(beta)
    log_q = -(((a - 1) / 0.3) ** 2 + (b / 0.1) ** 2) / 2 - np.log(2 * np.pi * 0.3 * 0.1 * 4 * 5)
    log_q -= np.log(np.abs(1 + b * np.exp(a) / 4))
    total = np.full(len(x), -np.inf)
    np.logaddexp.at(total, point, log_q)
    return total


def _roots(radius: Array, angle: Array) -> tuple[NDArray[np.intp], Array]:
    """Return all beta in [-pi, pi) with F(beta) = angle mod 2 pi/5, and the place of the point that each is of."""
    edges = np.linspace(-np.pi, np.pi, BRACKETS + 1)
    arm = np.floor((_turned(radius[:, None], edges) - angle[:, None]) / ARM)
    point, part = np.nonzero(arm[:, 1:] != arm[:, :-1])
    radius, below = radius[point], arm[point, part]
    goal = angle[point] + ARM * np.maximum(below, arm[point, part + 1])
    rising = arm[point, part + 1] > below
    low, high = edges[part], edges[part + 1]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        before = (_turned(radius, middle) < goal) == rising
        low, high = np.where(before, middle, low), np.where(before, high, middle)
    return point, (low + high) / 2


def _turned(radius: Array, beta: Array) -> Array:
    return beta - np.exp(radius * np.cos(beta)) / 4
