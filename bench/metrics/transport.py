"""Distances between a sample and a reference sample: optimal transport, exact and sliced, and kernel means.

| symbol | name in the code | meaning                                            |
|--------|------------------|----------------------------------------------------|
| x      | `samples`        | what a model draws, `(N, D)`                       |
| y      | `reference`      | as many points of the law aimed at, `(N, D)`       |
| theta  | `theta`          | unit vectors, `(D, K)`                             |
| k      | `kernel`         | k(a, b) = exp(-|a - b|^2 / (2 sigma^2))            |
| h      | `h`              | h_ij = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i) |

W_2 and its sliced form are never zero between two samples of one law; they shrink as N grows. So N is part of the
protocol, and a distance means something next to that between two samples of the reference, or debiased. The points of
both samples are independent draws. All is float64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from bench.errors import UserError

Points = NDArray[np.float64]


def wasserstein2(samples: ArrayLike, reference: ArrayLike) -> float:
    """Return W_2 of the two empirical laws, exactly: (min_pi mean_i |x_i - y_pi(i)|^2)^(1/2), pi a permutation.

    Memory grows as N^2 and time as N^3.

    Raises:
        UserError: see `paired`.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    x, y = paired(samples, reference)
    cost = cdist(x, y, "sqeuclidean")
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))


def debiased_wasserstein2(samples: ArrayLike, reference: ArrayLike) -> tuple[float, float | None]:
    """Return the squared W_2 of two laws above what two samples of one law have, and its standard error.

    For each two sets of both, 1/2 (W_2^2(x, y) + W_2^2(x', y')) - 1/2 (W_2^2(x, x') + W_2^2(y, y')); the mean over
    these. Zero in expectation for one law, so about half of its values are then negative. The standard error is None
    where there is one value.

    Args:
        samples: B sets x, `(B, N, D)`.
        reference: as many sets y of as many points.

    Raises:
        UserError: the sets have not one shape `(B, N, D)`, an odd number of them, or see `paired`.
    """
    x, y = np.asarray(samples, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if x.ndim != 3 or x.shape != y.shape or len(x) < 2 or len(x) % 2:
        raise UserError(
            f"the sets have the shapes {x.shape} and {y.shape}: give an even number of both, (B, N, D)"
        )
    found = [
        (_squared(a, b) + _squared(c, d) - _squared(a, c) - _squared(b, d)) / 2
        for a, b, c, d in zip(x[::2], y[::2], x[1::2], y[1::2], strict=True)
    ]
    se = float(np.std(found, ddof=1) / np.sqrt(len(found))) if len(found) > 1 else None
    return float(np.mean(found)), se


def _squared(a: Points, b: Points) -> float:
    return wasserstein2(a, b) ** 2


def sliced_wasserstein2(
    samples: ArrayLike, reference: ArrayLike, rng: Generator, directions: int = 256
) -> float:
    """Return the sliced W_2 of the two empirical laws: (mean_theta W_2(theta . x, theta . y)^2)^(1/2).

    On the line the best permutation sorts both samples. A shift by s alone gives |s| / sqrt(D) in expectation of the
    square, so the value is not on the scale of W_2 (bonneel2015sliced).

    Args:
        samples: x, `(N, D)`.
        reference: y, `(N, D)`.
        rng: draws the directions, uniform on the sphere.
        directions: K, how many.

    Raises:
        UserError: see `paired`.
    """
    x, y = paired(samples, reference)
    theta = rng.normal(size=(x.shape[1], directions))
    theta /= np.linalg.norm(theta, axis=0)
    gap = np.sort(x @ theta, axis=0) - np.sort(y @ theta, axis=0)  # (N, K)
    return float(np.sqrt(np.mean(gap**2)))


def mmd(samples: ArrayLike, reference: ArrayLike, sigma: float | None = None) -> tuple[float, float]:
    """Return an unbiased estimate of the SQUARED maximum mean discrepancy, and its standard error.

    MMD^2 = mean_{i != j} h_ij; zero in expectation for one law, so about half of its values are then negative. The
    bandwidth sigma is by default the median distance of two points of the reference. The standard error is that of a
    U-statistic, Var = (4 (N - 2) zeta_1 + 2 zeta_2) / (N (N - 1)), zeta_1 = Cov(h_ij, h_ik), zeta_2 = Var(h_ij), both
    estimated from h and zeta_1 not below zero (gretton2012kernel). Memory grows as N^2.

    Args:
        samples: x, `(N, D)`.
        reference: y, `(N, D)`.
        sigma: the bandwidth.

    Raises:
        UserError: see `paired`; the bandwidth is not positive, or half of the reference's points coincide.
    """
    from scipy.spatial.distance import pdist

    x, y = paired(samples, reference)
    if sigma is None:
        sigma = float(np.median(pdist(y)))
        if sigma == 0:
            raise UserError(
                "the median distance of the reference's points is zero: draw a reference without ties"
            )
    kernel = gaussian(sigma)
    cross = kernel(x, y)
    h = kernel(x, x) + kernel(y, y) - cross - cross.T
    np.fill_diagonal(h, 0)
    n, rows = len(x), h.sum(axis=1)
    pairs = n * (n - 1)
    value, squares = rows.sum() / pairs, (h**2).sum()
    zeta_1 = max((rows @ rows - squares) / (pairs * (n - 2)) - value**2, 0.0)
    zeta_2 = squares / pairs - value**2
    return float(value), float(np.sqrt((4 * (n - 2) * zeta_1 + 2 * zeta_2) / pairs))


def mmd_biased(samples: ArrayLike, reference: ArrayLike, sigma: float) -> float:
    """Return the biased estimate of the squared MMD: means over all pairs of a sample, each point with itself too.

    mean_ij k(x_i, x_j) + mean_ij k(y_i, y_j) - 2 mean_ij k(x_i, y_j). A narrow kernel in many dimensions is about zero
    between any two points; what is left is 2 / N, whatever the samples are.

    Args:
        samples: x, `(N, D)`.
        reference: y, `(N, D)`.
        sigma: the bandwidth.

    Raises:
        UserError: see `paired`; the bandwidth is not positive.
    """
    x, y = paired(samples, reference)
    kernel = gaussian(sigma)
    return float(kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean())


def gaussian(sigma: float) -> Callable[[Points, Points], Points]:
    """Return the kernel k(a_i, b_j) `(N, M)` of points `(N, D)` and `(M, D)`.

    Raises:
        UserError: the bandwidth is not positive.
    """
    from scipy.spatial.distance import cdist

    if sigma <= 0:
        raise UserError(f"the bandwidth of the kernel must be positive, got {sigma:g}")
    return lambda a, b: np.exp(-cdist(a, b, "sqeuclidean") / (2 * sigma**2))


def paired(samples: ArrayLike, reference: ArrayLike, least: int = 4) -> tuple[Points, Points]:
    """Return both samples as float64 `(N, D)`.

    Raises:
        UserError: not two arrays `(N, D)` of one shape, fewer than `least` points, or a value that is not finite.
    """
    x, y = (np.asarray(points, dtype=np.float64) for points in (samples, reference))
    if x.ndim != 2 or x.shape != y.shape or x.shape[1] == 0:
        raise UserError(f"the samples have the shapes {x.shape} and {y.shape}: give two of one shape (N, D)")
    if len(x) < least:
        raise UserError(f"{len(x)} points a sample are too few: give at least {least}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UserError("a sample has values that are not finite: compare only draws that did not diverge")
    return x, y
