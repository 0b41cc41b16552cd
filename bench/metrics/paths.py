"""How straight the paths of a flow are, and how much longer than optimal transport.

| symbol   | name in the code | shape       | meaning                                                         |
|----------|------------------|-------------|-----------------------------------------------------------------|
| t        | `times`          | `(K,)`      | from the start of the paths to their end, up or down            |
| x_t      | `positions`      | `(K, N, D)` | N paths at those times                                          |
| v_t(x_t) | `velocities`     | `(K, N, D)` | the field on the paths, dx/dt                                   |
| W_2      | `w2`             |             | distance of the laws of x_0 and x_1, see `transport.wasserstein2` |

Both are stated for unit time: with T = t_K - t_1 the time is s = (t - t_1) / T and the velocity T v, so another clock
along the same paths at constant factor changes nothing. Squares are summed over the dimensions, the integral over s is
the trapezoidal rule on `times`, the expectation the mean over the N paths. All is float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import UserError

Array = NDArray[np.float64]


def straightness(times: ArrayLike, positions: ArrayLike, velocities: ArrayLike) -> tuple[float, float]:
    """Return S = E int_0^1 |(x_1 - x_0) - v_s(x_s)|^2 ds, and its standard error over paths (liu2023flow).

    0 where every path is a straight line at constant speed: one Euler step then gives it exactly.

    Raises:
        UserError: see `_unit_time`; or the positions have another shape than the velocities.
    """
    weights, v = _unit_time(times, velocities)
    x = np.asarray(positions, dtype=np.float64)
    if x.shape != v.shape:
        raise UserError(
            f"positions {x.shape} and velocities {v.shape} differ in shape: give both at all times"
        )
    if not np.isfinite(x).all():
        raise UserError("a position is not finite: measure only paths that did not diverge")
    return _mean(weights, x[-1] - x[0] - v)


def path_energy(times: ArrayLike, velocities: ArrayLike, w2: float) -> tuple[float, float]:
    """Return the normalised path energy |PE - W_2^2| / W_2^2, PE = E int_0^1 |v_s(x_s)|^2 ds, and its standard error.

    0 for the dynamic optimal transport between both laws (tong2024improving; definition recalled, not checked against
    the text). W_2 is taken as exact; from N points it is too large, so a small value says little below that error.

    Args:
        times: `(K,)`.
        velocities: `(K, N, D)`.
        w2: W_2 itself, not its square.

    Raises:
        UserError: see `_unit_time`; or W_2 is not a positive number.
    """
    if not (np.isfinite(w2) and w2 > 0):
        raise UserError(f"W_2 is {w2}: the normalised path energy needs a positive distance")
    energy, se = _mean(*_unit_time(times, velocities))
    return abs(energy - w2**2) / w2**2, se / w2**2


def _unit_time(times: ArrayLike, velocities: ArrayLike) -> tuple[Array, Array]:
    """Return the weights of the trapezoidal rule on [0, 1], `(K,)`, and the velocities there.

    Raises:
        UserError: fewer than two times, times not strictly monotone, velocities not `(K, N, D)` with N at least 2, or a
            value that is not finite.
    """
    t, v = np.asarray(times, dtype=np.float64), np.asarray(velocities, dtype=np.float64)
    if t.ndim != 1 or len(t) < 2:
        raise UserError(f"times have the shape {t.shape}: give at least two, (K,)")
    span = t[-1] - t[0]
    steps = np.diff(t) / span if span else np.diff(t)
    if not (steps > 0).all():
        raise UserError("times are not strictly increasing or decreasing: give those of one solve, in order")
    if v.ndim != 3 or len(v) != len(t) or v.shape[1] < 2 or v.shape[2] == 0:
        raise UserError(f"velocities have the shape {v.shape}: give (K, N, D), K = {len(t)} and N at least 2")
    if not np.isfinite(v).all():
        raise UserError("a velocity is not finite: measure only paths that did not diverge")
    return np.append(steps, 0) / 2 + np.append(0, steps) / 2, span * v


def _mean(weights: Array, vectors: Array) -> tuple[float, float]:
    """Return the mean over paths of the integral of |vector|^2, and its standard error."""
    each = np.einsum("k,knd->n", weights, vectors**2)
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))
