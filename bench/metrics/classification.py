"""Two-sample test by a classifier: how well can a sample be told from a reference sample."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from bench.metrics.transport import paired


def c2st(samples: ArrayLike, reference: ArrayLike, rng: Generator) -> tuple[float, float]:
    """Return the held-out accuracy in % of a classifier that tells the samples apart, and its standard error in %.

    50 is chance: the classifier finds no difference; 100 is certainty (lopezpaz2017revisiting). It is trained on a
    random half of both samples, the same places of both, and tested on the other half. It is scikit-learn's
    `HistGradientBoostingClassifier`: 100 trees of at most 31 leaves, rate 0.1, no early stop.

    The standard error is binomial, 100 sqrt(p (1 - p) / n) at n test points. It is exact because no test point is ever
    trained on; over the folds of a cross-validation it would be too small.

    Args:
        samples: x, `(N, D)`.
        reference: y, `(N, D)`.
        rng: draws the halves.

    Raises:
        UserError: see `bench.metrics.transport.paired`; N is at least 40.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    pair = paired(samples, reference, least=40)
    n = len(pair[0])
    train, test = np.split(rng.permutation(n), [n // 2])
    classifier = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=0)
    classifier.fit(np.concatenate([points[train] for points in pair]), np.repeat([0, 1], len(train)))
    answers = classifier.predict(np.concatenate([points[test] for points in pair]))
    p = float(np.mean(answers == np.repeat([0, 1], len(test))))
    return 100 * p, 100 * float(np.sqrt(p * (1 - p) / len(answers)))
