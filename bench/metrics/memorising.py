"""Whether a model's samples are copies of its training points: the nearest neighbour among these and among others.

| symbol | name in the code | meaning |
|--------|------------------|---------|
| x      | `samples`        | what a model draws, `(N, D)` |
| a      | `train`          | points that it was trained on, `(M, D)` |
| b      | `held_out`       | as many points of the same law that it has not seen, `(M, D)` |
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import UserError

Array = NDArray[Any]

AT_ONCE = 500
"""Samples whose distances are computed together."""


def nearest_in_training(samples: ArrayLike, train: ArrayLike, held_out: ArrayLike) -> tuple[float, float]:
    """Return the share in % of the samples that are nearer to a training point than to a held-out one, and its error.

    share = 1/N sum_n [min_m |x_n - a_m| < min_m |x_n - b_m|], a tie counts as half. Where the samples know no more of a
    than of b, both are interchangeable, whatever the samples' law is: its expectation is 50. More is memorising.

    The error is the standard deviation of the share where that is so, in %: over all ways to call M of the 2 M points
    the training points. With c_j samples nearest to point j, ties left out, and c their mean over the 2 M points, it is
    1 / (2 N) (2 M / (2 M - 1) sum_j (c_j - c)^2)^(1/2): samples with the same nearest point are answered alike.

    Args:
        samples: x.
        train: a.
        held_out: b.

    Raises:
        UserError: not arrays `(N, D)`, `(M, D)` and `(M, D)` with points, or a value that is not finite.
    """
    x, a, b = (np.asarray(points, dtype=np.float64) for points in (samples, train, held_out))
    if x.ndim != 2 or a.ndim != 2 or a.shape != b.shape or x.shape[1] != a.shape[1] or 0 in (x.size, a.size):
        raise UserError(
            f"samples, training and held-out points have the shapes {x.shape}, {a.shape} and {b.shape}: give (N, D) "
            "and twice (M, D)"
        )
    if not all(np.isfinite(points).all() for points in (x, a, b)):
        raise UserError("a point is not finite: compare only draws that did not diverge")
    to_train, of_train = _nearest(x, a)
    to_other, of_other = _nearest(x, b)
    nearer = (to_train < to_other) + 0.5 * (to_train == to_other)
    nearest = np.where(to_train < to_other, of_train, len(a) + of_other)[to_train != to_other]
    counts = np.bincount(nearest, minlength=2 * len(a))
    squares = ((counts - counts.mean()) ** 2).sum() * 2 * len(a) / (2 * len(a) - 1)
    return 100 * float(nearer.mean()), 100 * float(np.sqrt(squares)) / (2 * len(x))


def _nearest(x: Array, points: Array) -> tuple[Array, Array]:
    """Return the least squared distance of each x to the points, `(N,)`, and the place of the nearest, `(N,)`."""
    from scipy.spatial.distance import cdist

    distances, places = [], []
    for part in np.array_split(x, -(-len(x) // AT_ONCE)):
        square = cdist(part, points, "sqeuclidean")
        places.append(square.argmin(1))
        distances.append(square.min(1))
    return np.concatenate(distances), np.concatenate(places)
