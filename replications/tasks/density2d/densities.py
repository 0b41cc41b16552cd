r"""Densities of some 2-D sets of `bench.data.toy2d`, for the Kullback-Leibler divergence of a flow from its data.

| symbol | code | shape | equation |
|---|---|---|---|
| q(x) | `log_density` | `(N,)` | the law of the set's points, log q in nats |
| moons | `_moons` | | 1/2 sum over both arcs of 1/pi integral over 0..pi of N(x; arc(a), 0.2^2 I) da |
| 8gaussians | `_gaussians8` | | 1/8 sum_k N(x; c_k, s^2 I), abs(c_k) = 4/1.414, s = 0.5/1.414 |
| checkerboard | `_checkerboard` | | 1/32 on the dark squares, 0 elsewhere |

On fresh points x_n of q the mean of log q(x_n) - log p(x_n) estimates KL(q, p), a flow's excess over the entropy of the
data, with far less noise than the mean of -log p(x_n) alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import UserError

Array = NDArray[np.float64]

NODES = 128
"""Of Gauss and Legendre's rule along an arc."""


def log_density(name: str, x: ArrayLike) -> Array:
    """Return log q(x) `(N,)` in nats of points `(N, 2)`; -inf where there is no data.

    Raises:
        UserError: the density of this set is not known here.
    """
    if name not in DENSITIES:
        raise UserError(f"the density of the set {name!r} is not known: choose one of {', '.join(DENSITIES)}")
    return DENSITIES[name](np.asarray(x, dtype=np.float64))


def _moons(x: Array) -> Array:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    angle = (nodes + 1) * np.pi / 2
    upper = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    arcs = 2 * np.concatenate((upper, (1.0, 0.5) - upper)) - (1.0, 0.2)
    return _mixture(x, arcs, 0.2, np.tile(weights, 2) / 4)


def _gaussians8(x: Array) -> Array:
    angle = np.pi / 4 * np.arange(8)
    centres = 4 / 1.414 * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    return _mixture(x, centres, 0.5 / 1.414, np.full(8, 1 / 8))


def _checkerboard(x: Array) -> Array:
    column, row = np.floor(x / 2).T
    dark = ((column + row) % 2 == 0) & (np.abs(x) <= 4).all(axis=1)
    return np.where(dark, -np.log(32), -np.inf)


def _mixture(x: Array, centres: Array, std: float, weights: Array) -> Array:
    """Return log sum_k w_k N(x; c_k, std^2 I), the points in parts, since memory grows as points times centres."""
    from scipy.special import logsumexp

    constant = np.log(2 * np.pi * std**2)
    parts = []
    for part in np.array_split(x, -(-len(x) // 1000)):
        square = ((part[:, None] - centres) ** 2).sum(-1)
        parts.append(logsumexp(-square / (2 * std**2), axis=1, b=weights) - constant)
    return np.concatenate(parts)


DENSITIES: dict[str, Callable[[Array], Array]] = {
    "moons": _moons,
    "8gaussians": _gaussians8,
    "checkerboard": _checkerboard,
}
