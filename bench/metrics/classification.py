"""Two-sample test by a classifier: how well can a sample be told from a reference sample."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from bench.errors import UserError
from bench.metrics.share import effective_size, share
from bench.metrics.transport import Points, paired

Places = NDArray[np.intp]
LEAST = 40
"""Points a sample that are needed."""


def c2st(samples: ArrayLike, reference: ArrayLike, rng: Generator) -> tuple[float, float]:
    """Return the held-out accuracy in % of a classifier that tells the samples apart, and its standard error in %.

    50 is chance: the classifier finds no difference; 100 is certainty (lopezpaz2017revisiting). It is trained on a
    random half of both samples, the same places of both, and tested on the other half. It is scikit-learn's
    `HistGradientBoostingClassifier`: 100 trees of at most 31 leaves, rate 0.1, no early stop.

    The standard error is that of a share of the test points, see `bench.metrics.share`. It is honest because no test
    point is ever trained on: places that have a point in common, in either sample, are in one half, and copies among
    the test points count as one. Over the folds of a cross-validation it would be too small.

    Args:
        samples: x, `(N, D)`.
        reference: y, `(N, D)`.
        rng: draws the halves.

    Raises:
        UserError: see `bench.metrics.transport.paired`; N is at least 40; so many points coincide that a half would
            have fewer than 20 places.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    pair = paired(samples, reference, least=LEAST)
    train, test = _halves(pair, rng)
    classifier = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=0)
    classifier.fit(np.concatenate([points[train] for points in pair]), np.repeat([0, 1], len(train)))
    tested, labels = np.concatenate([points[test] for points in pair]), np.repeat([0, 1], len(test))
    right = int(np.sum(classifier.predict(tested) == labels))
    return share(right, len(labels), effective_size(tested, labels)).percent


def _halves(pair: tuple[Points, Points], rng: Generator) -> tuple[Places, Places]:
    """Return the places to train and to test on, in random order; equal points of either sample are in one half."""
    n = len(pair[0])
    groups, order = _groups(np.concatenate(pair)), rng.permutation(n)
    members: dict[int, list[int]] = {}
    for place in order:
        members.setdefault(groups[place], []).append(place)
    train: list[int] = []
    test: list[int] = []
    for together in members.values():
        fits = len(train) + len(together) <= n // 2
        (train if fits else test).extend(together)
    if min(len(train), len(test)) < LEAST // 2:
        raise UserError(
            f"{n} points a sample have only {len(members)} groups without a point in common: draw more distinct points"
        )
    return np.array(train), np.array(test)


def _groups(points: Points) -> Places:
    """Return the group of each of n places, `(n,)`, given both samples' points `(2 n, D)`; see `c2st`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(points) // 2
    _, distinct = np.unique(points, axis=0, return_inverse=True)
    places, nodes = np.tile(np.arange(n), 2), n + distinct.ravel()
    size = n + len(points)
    graph = coo_array((np.ones(2 * n), (places, nodes)), shape=(size, size))
    groups: Places = connected_components(graph, directed=False)[1][:n]
    return groups
