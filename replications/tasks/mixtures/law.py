r"""Gaussian mixtures with full covariances: draws, log-density, score; the mixtures that the tasks have in common.

| symbol | code | shape | equation |
|---|---|---|---|
| w_k | `weights` | `(K,)` | positive, sum 1 |
| m_k | `means` | `(K, D)` | |
| S_k | `variances`, `axes` | `(K, D)`, `(K, D, D)` | S_k = A_k diag(l_k) A_k^T, A_k orthogonal |
| q(x) | `log_prob`, `log_density` | `(N,)` | sum_k w_k N(x; m_k, S_k), log q in nats |
| grad log q(x) | `score` | `(N, D)` | sum_k P(k given x) S_k^-1 (m_k - x) |

The law of each dimension is one and the same in every run: `mixture` draws it from a seed that is part of the
definition, by numpy's old generator, whose streams are frozen. All is float64, whatever x is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bench.errors import UserError

Array = NDArray[np.float64]

DRAWN_BY = {2: 7, 8: 1, 32: 1}
"""D -> seed of the law; the first from 1 on at which no two means are closer than 2 before the scaling."""
PARTS = 5
"""K."""
RADIUS = 3.0
"""Of the sphere on which the means lie before the scaling."""
SPREAD = (0.15, 1.5)
"""Least and largest variance along an axis before the scaling."""


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture, or one for each of N points: then means and variances have N in front."""

    weights: Tensor
    means: Tensor
    variances: Tensor
    axes: Tensor

    @property
    def dim(self) -> int:
        """Return D."""
        return self.means.shape[-1]

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Return n independent points `(n, D)`."""
        k = rng.choice(len(self.weights), n, p=self.weights.numpy())
        x = rng.normal(size=(n, self.dim))
        for part, (mean, variances, axes) in enumerate(zip(self.means, self.variances, self.axes)):
            of_part = k == part
            x[of_part] = mean.numpy() + (x[of_part] * variances.sqrt().numpy()) @ axes.numpy().T
        return x

    def log_density(self, x: ArrayLike) -> Array:
        """Return log q(x) `(N,)` in nats of points `(N, D)`."""
        found: Array = self.log_prob(torch.as_tensor(np.asarray(x, dtype=np.float64))).numpy()
        return found

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q(x) `(N,)` in nats of points `(N, D)`."""
        return self._log_parts(self.along(x)).logsumexp(-1)

    def score(self, x: Tensor) -> Tensor:
        """Return grad log q(x) `(N, D)` of points `(N, D)`."""
        along = self.along(x)
        return self.mean_over_parts(along, -self.from_axes(along / self.variances.to(x.device)))

    def along(self, x: Tensor) -> Tensor:
        """Return A_k^T (x - m_k) `(N, K, D)` of points `(N, D)`."""
        means, axes = self.means.to(x.device), self.axes.to(x.device)
        return torch.einsum("kij,nki->nkj", axes, x.double()[:, None] - means)

    def from_axes(self, along: Tensor) -> Tensor:
        """Return A_k y_k `(N, K, D)` of coordinates y `(N, K, D)` along the axes."""
        return torch.einsum("kij,nkj->nki", self.axes.to(along.device), along)

    def mean_over_parts(self, along: Tensor, values: Tensor) -> Tensor:
        """Return sum_k P(k given x) values_k `(N, D)`, x given by `along`."""
        return (self._log_parts(along).softmax(-1)[..., None] * values).sum(1)

    def _log_parts(self, along: Tensor) -> Tensor:
        """Return log w_k N(x; m_k, S_k) `(N, K)`."""
        variances, weights = self.variances.to(along.device), self.weights.to(along.device)
        terms = along.square() / variances + (2 * math.pi * variances).log()
        return weights.log() - 0.5 * terms.sum(-1)


@cache
def mixture(dim: int) -> Mixture:
    """Return the mixture of that many dimensions: mean 0, variance 1 on the average over dimensions.

    With the seed of `DRAWN_BY`, in this order of drawing: five means uniform on the sphere of radius 3; variances along
    the axes log-uniform between 0.15 and 1.5; axes uniform among the rotations and reflections. The weights are k / 15,
    k = 1 to 5. Then the mean is subtracted, and one factor scales all dimensions, so no covariance has a condition
    number above 10.

    Raises:
        UserError: no mixture has as many dimensions.
    """
    if dim not in DRAWN_BY:
        raise UserError(f"no mixture has {dim} dimensions: choose one of {', '.join(map(str, DRAWN_BY))}")
    rng = np.random.RandomState(DRAWN_BY[dim])
    means = rng.normal(size=(PARTS, dim))
    means *= RADIUS / np.linalg.norm(means, axis=1, keepdims=True)
    least, largest = np.log(SPREAD).tolist()
    variances = np.exp(rng.uniform(least, largest, (PARTS, dim)))
    axes = np.stack([_orthogonal(rng.normal(size=(dim, dim))) for _ in range(PARTS)])
    weights = np.arange(1, PARTS + 1) / (PARTS * (PARTS + 1) / 2)
    means -= weights @ means
    scale = np.sqrt((weights @ (means**2 + variances).sum(1)) / dim)
    parts = weights, means / scale, variances / scale**2, axes
    return Mixture(*(torch.as_tensor(part) for part in parts))


def _orthogonal(square: Array) -> Array:
    """Return Q of square = Q R with a positive diagonal of R, which is unique: uniform where the entries are normal."""
    q, r = np.linalg.qr(square)
    return q * np.sign(np.diag(r))
