"""Two-dimensional densities p(z) = e^-U(z) / Z, known up to Z, for flows to match (rezende2015variational, table 1).

| symbol | code | equation |
|---|---|---|
| z_1, z_2 | `x`, `y` | the two coordinates |
| w_1 | `_wave` | sin(2 pi z_1 / 4) |
| w_2 | `_bump` | 3 exp(-((z_1 - 1) / 0.6)^2 / 2) |
| U_1, U_2, U_3 | `ENERGIES` | see the functions |
| W | `_wall` | (max(abs(z_1) - 4, 0) / 0.4)^2 / 2 |
| log Z | `log_partition` | log of the integral of e^-U |

As printed U_2 and U_3 do not grow with abs(z_1): their Z is infinite, and E_q[log q + U] has no lower bound. The paper
shows its densities over (-4, 4)^2. Here U_2 and U_3 include the wall W, which is zero there and makes Z finite: ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.errors import UserError

Energy = Callable[[Any, Any, Any], Any]
"""(x, y, xp) -> U, elementwise; xp is the library of x and y, `numpy` or `torch`."""

REACH = 8.0
"""Outside [-REACH, REACH]^2 every e^-U is below 1e-21."""


def names() -> list[str]:
    """Return the names of the energies."""
    return list(ENERGIES)


def energy(name: str, z: Any, xp: Any = np) -> Any:
    """Return U(z), `(...)`, of points z `(..., 2)`.

    Args:
        name: of the energy.
        z: array of the library `xp`.
        xp: `numpy` or `torch`; with torch the result has a gradient.

    Raises:
        UserError: there is no energy of that name.
    """
    if name not in ENERGIES:
        raise UserError(f"no 2-D energy is called {name!r}: choose one of {', '.join(ENERGIES)}")
    return ENERGIES[name](z[..., 0], z[..., 1], xp)


def log_partition(name: str, side: int = 801) -> float:
    """Return log Z by the trapezoidal rule on `side`^2 points of [-REACH, REACH]^2, exact to 1e-12.

    Raises:
        UserError: there is no energy of that name.
    """
    axis = np.linspace(-REACH, REACH, side)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1)
    return float(np.log(np.exp(-energy(name, grid)).sum() * (axis[1] - axis[0]) ** 2))


def two_sides(x: Any, y: Any, xp: Any) -> Any:
    """Return U_1: ((|z| - 2) / 0.4)^2 / 2 - log(e^(-((z_1 - 2) / 0.6)^2 / 2) + e^(-((z_1 + 2) / 0.6)^2 / 2))."""
    ring = _well(xp.sqrt(x**2 + y**2) - 2, 0.4)
    return ring - xp.logaddexp(-_well(x - 2, 0.6), -_well(x + 2, 0.6))


def wave(x: Any, y: Any, xp: Any) -> Any:
    """Return U_2: ((z_2 - w_1) / 0.4)^2 / 2 + W."""
    return _well(y - _wave(x, xp), 0.4) + _wall(x, xp)


def split_wave(x: Any, y: Any, xp: Any) -> Any:
    """Return U_3: -log(e^(-((z_2 - w_1) / 0.35)^2 / 2) + e^(-((z_2 - w_1 + w_2) / 0.35)^2 / 2)) + W."""
    above = y - _wave(x, xp)
    below = above + _bump(x, xp)
    return _wall(x, xp) - xp.logaddexp(-_well(above, 0.35), -_well(below, 0.35))


def _well(x: Any, scale: float) -> Any:
    return (x / scale) ** 2 / 2


def _wave(x: Any, xp: Any) -> Any:
    return xp.sin(2 * np.pi * x / 4)


def _bump(x: Any, xp: Any) -> Any:
    return 3 * xp.exp(-_well(x - 1, 0.6))


def _wall(x: Any, xp: Any) -> Any:
    return _well(xp.clip(xp.abs(x) - 4, 0, None), 0.4)


ENERGIES: dict[str, Energy] = {"energy1": two_sides, "energy2": wave, "energy3": split_wave}
"""By the number of the paper's table; its fourth is in no experiment."""
