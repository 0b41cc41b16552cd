r"""Densities of the 2-D sets of `bench.data.toy2d`, for the Kullback-Leibler divergence of a flow from its data.

| symbol | code | equation |
|---|---|---|
| q(x) | `log_density` | the law of the set's points, log q in nats, `(N,)` |
| 8gaussians, on four scales | `_gaussians` | 1/8 sum_k N(x; c_k, s^2 I), c_k equally spaced on a circle |
| rings, circles | `_circles` | mean over r of exp(-(abs(x)^2 + r^2) / (2 s^2)) I_0(abs(x) r / s^2) / (2 pi s^2) |
| moons, swissroll, scurve | `_mixture` | integral of w(a) N(x; c(a), s^2 I) da |
| 2spirals | `_spirals` | integral of w(a) times the density of c(a) + U(0, h)^2 + N(0, s^2 I), arms x and -x |
| pinwheel | `pinwheel.log_density` | change of variables, the roots by bisection |
| crescent | `_crescent` | N(r; 2, 0.2^2) sum_j N(angle + 2 pi j; pi/2, (pi/5)^2) / r about (0, -1.5) |
| checkerboard | `_checkerboard` | 1/32 on the dark squares, 0 elsewhere |

Integrals are by Gauss and Legendre's rule along the curve: twice as many nodes change log q at no drawn point by 1e-8.

On fresh points x_n of q the mean of log q(x_n) - log p(x_n) estimates KL(q, p), a flow's excess over the entropy of the
data, with far less noise than the mean of -log p(x_n) alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.data.toy2d import MOONS_STD
from bench.errors import UserError
from replications.tasks.density2d import pinwheel

Array = NDArray[np.float64]

NODES = {"arc": 128, "swissroll": 192, "2spirals": 320, "scurve": 192}
"""Of Gauss and Legendre's rule: of half a circle, and along the other curves."""
AT_ONCE = 1000
"""Points evaluated together, since memory grows as points times nodes."""


def log_density(name: str, x: ArrayLike) -> Array:
    """Return log q(x) `(N,)` in nats of points `(N, 2)`; -inf where there is no data.

    Raises:
        UserError: the density of this set is not known here.
    """
    if name not in DENSITIES:
        raise UserError(f"the density of the set {name!r} is not known: choose one of {', '.join(DENSITIES)}")
    points = np.asarray(x, dtype=np.float64)
    parts = np.array_split(points, -(-len(points) // AT_ONCE) or 1)
    return np.concatenate([DENSITIES[name](part) for part in parts])


def _gaussians(x: Array, radius: float, std: float) -> Array:
    angle = np.pi / 4 * np.arange(8.0)
    return _mixture(x, radius * _unit(angle), std, np.full(8, 1 / 8))


def _circles(x: Array, radii: tuple[float, ...], std: float) -> Array:
    from scipy.special import i0e, logsumexp

    at, radius = np.hypot(*x.T)[:, None], np.array(radii)
    # i0e(z) = I_0(z) / e^z
    parts = np.log(i0e(at * radius / std**2)) - (at - radius) ** 2 / (2 * std**2)
    total: Array = logsumexp(parts, axis=1) - np.log(len(radii) * 2 * np.pi * std**2)
    return total


def _moons(x: Array, std: float, scale: float, shift: tuple[float, float]) -> Array:
    """Return that of half circles + N(0, std^2 I), then * scale + shift."""
    angle, weights = _rule("arc", 0, np.pi)
    upper = _unit(angle)
    arcs = scale * np.concatenate((upper, (1.0, 0.5) - upper)) + shift
    return _mixture(x, arcs, scale * std, np.tile(weights, 2) / 2)


def _swissroll(x: Array) -> Array:
    angle, weights = _rule("swissroll", 1.5 * np.pi, 4.5 * np.pi)
    return _mixture(x, angle[:, None] * _unit(angle) / 5, 1 / 5, weights)


def _scurve(x: Array) -> Array:
    angle, weights = _rule("scurve", 0, 1.5 * np.pi)
    half = 1.5 * np.stack((np.sin(angle), np.cos(angle) - 1), axis=1)  # the curve at -a is that at a, negated
    return _mixture(x, np.concatenate((half, -half)), 1.5 * 0.05, np.tile(weights, 2) / 2)


def _spirals(x: Array) -> Array:
    from scipy.special import logsumexp

    angle, weights = _rule("2spirals", 0, 3 * np.pi)
    weights = weights * 2 * angle / (3 * np.pi)  # angle = 3 pi sqrt(U)
    corner = angle[:, None] * np.stack((-np.cos(angle), np.sin(angle)), axis=1) / 3
    from_corner = np.concatenate((x, -x))[:, None] - corner  # (2 N, nodes, 2)
    terms = sum(_log_blurred(from_corner[..., axis], 0.5 / 3, 0.1) for axis in (0, 1))
    arms: Array = logsumexp(terms, axis=1, b=weights).reshape(2, -1)
    return np.logaddexp(*arms) - np.log(2)


def _log_blurred(z: Array, width: float, std: float) -> Array:
    """Return the log-density of U(0, width) + N(0, std^2), log [Phi(z / s) - Phi((z - h) / s)] / h."""
    from scipy.special import log_ndtr

    off = np.abs(z - width / 2)
    near, far = log_ndtr((width / 2 - off) / std), log_ndtr((-width / 2 - off) / std)
    blurred: Array = near + np.log1p(-np.exp(far - near)) - np.log(width)
    return blurred


def _crescent(x: Array) -> Array:
    from scipy.special import logsumexp

    left, up = x[:, 0], x[:, 1] + 1.5
    radius, turns = np.hypot(left, up), 2 * np.pi * np.arange(-2, 3)
    parts = []
    for sign in (1, -1):  # a drawn radius may be negative
        angle = np.arctan2(sign * up, sign * left)[:, None] + turns
        of_angle = logsumexp(_log_normal(angle, np.pi / 2, np.pi / 5), axis=1)
        parts.append(of_angle + _log_normal(sign * radius, 2, 0.2))
    with np.errstate(divide="ignore"):
        return np.logaddexp(*parts) - np.log(radius)


def _checkerboard(x: Array) -> Array:
    column, row = np.floor(x / 2).T
    dark = ((column + row) % 2 == 0) & (np.abs(x) <= 4).all(axis=1)
    return np.where(dark, -np.log(32), -np.inf)


def _rule(name: str, start: float, end: float) -> tuple[Array, Array]:
    """Return nodes in [start, end], and their weights, which add up to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES[name])
    return start + (nodes + 1) / 2 * (end - start), weights / 2


def _unit(angle: Array) -> Array:
    return np.stack((np.cos(angle), np.sin(angle)), axis=1)


def _log_normal(z: Array, mean: float, std: float) -> Array:
    return -((z - mean) ** 2) / (2 * std**2) - np.log(np.sqrt(2 * np.pi) * std)


def _mixture(x: Array, centres: Array, std: float, weights: Array) -> Array:
    """Return log sum_k w_k N(x; c_k, std^2 I)."""
    from scipy.special import logsumexp

    square = ((x[:, None] - centres) ** 2).sum(-1)
    total: Array = logsumexp(-square / (2 * std**2), axis=1, b=weights) - np.log(2 * np.pi * std**2)
    return total


_BRIDGE = 7 / MOONS_STD
DENSITIES: dict[str, Callable[[Array], Array]] = {
    "swissroll": _swissroll,
    "circles": partial(_circles, radii=(3.0, 1.5), std=3 * 0.08),
    "rings": partial(_circles, radii=(3.0, 2.25, 1.5, 0.75), std=0.08),
    "moons": partial(_moons, std=0.1, scale=2.0, shift=(-1.0, -0.2)),
    "8gaussians": partial(_gaussians, radius=4 / 1.414, std=0.5 / 1.414),
    "pinwheel": pinwheel.log_density,
    "2spirals": _spirals,
    "checkerboard": _checkerboard,
    "crescent": _crescent,
    "moons-cfm": partial(_moons, std=0.05, scale=2.0, shift=(-1.0, 0.0)),
    "moons-bridge": partial(_moons, std=0.1, scale=_BRIDGE, shift=(-0.375 * _BRIDGE, -0.375 * _BRIDGE)),
    "8gaussians-cfm": partial(_gaussians, radius=5.0, std=1.0),
    "8gaussians-bridge": partial(_gaussians, radius=12.0, std=1.5),
    "8gaussians-notebook": partial(_gaussians, radius=5.0, std=0.1**0.5),
    "scurve": _scurve,
}
