"""Scores of a sample set against a reference, from the features of both; computed by torch-fidelity.

| symbol     | name in the code | meaning                                                                         |
|------------|------------------|---------------------------------------------------------------------------------|
| phi(x)     | `x`, `y`         | features of samples `(N, d)` and of the reference `(M, d)`                      |
| mu, Sigma  | `mu`, `sigma`    | their mean and covariance (divisor N - 1)                                       |
| FID        | `fid`            | |mu_x - mu_y|^2 + tr(Sigma_x + Sigma_y - 2 (Sigma_x Sigma_y)^(1/2))             |
| IS         | `inception_score`| exp E_x KL(p(c|x) | p(c)), mean of 10 parts; at most the number of classes      |
| KID        | `kid`            | MMD^2 of the features, kernel (a . b / d + 1)^3                                 |
| precision  | `precision`      | share of samples no farther from some reference point than its third neighbour  |
| recall     | `recall`         | the same with samples and reference exchanged                                   |

Sources: heusel2017gans (FID), salimans2016improved (IS), binkowski2018demystifying (KID), kynkaanniemi2019improved
(precision, recall). FID is biased upwards, by about c / N + c' / M (chong2020effectively); so every score is read
beside that of as many real data against the same reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bench.errors import UserError
from bench.metrics.fidelity import extractors
from bench.metrics.fidelity.extractors import Extractor
from bench.metrics.fidelity.features import Features, both, shrinks
from bench.metrics.fidelity.library import library
from bench.metrics.share import effective_size, share

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]

LEAST = 100
SPLITS, SUBSETS, SUBSET_SIZE, NEIGHBOURS = 10, 100, 1000, 3


@dataclass(frozen=True)
class Score:
    """One score, with what `Run.metric` takes: value, protocol id, number of samples, standard error."""

    value: float
    protocol: str
    n: int
    se: float


def quality(
    samples: NDArray[Any] | Tensor,
    reference: NDArray[Any] | Tensor,
    extractor: str,
    name: str,
    rng: Generator,
    device: str = "cpu",
) -> dict[str, Score]:
    """Return `fid`, `fid[extrapolated]`, `inception_score`, `kid`, `precision` and `recall` of samples.

    A protocol id is `metric/extractor/reference-M/N/rounding`, then `antialiased to side` where images are shrunk for
    the network (see `features`), and the metric's own settings. The reference's features
    stay in the cache, under the hash of its content; the samples' do not.

    Args:
        samples: N, as the extractor takes them.
        reference: M, as the extractor takes them; images of the samples' size.
        extractor: a name of `bench.metrics.fidelity.extractors`.
        name: of the reference split, such as `mnist-test`.
        rng: draws the groups of FID's jackknife, the parts of IS and the subsets of KID.
        device: where the extractor runs; scores are computed on the CPU.

    Raises:
        UserError: unknown extractor; samples or reference are not what it takes, of two shapes or two kinds of levels
            (see `levels`), or fewer than twice the features or 100 (see `fid`); the extractor's weights are absent, or
            torch-fidelity is.
    """
    found = extractors.get(extractor)
    x, of_y = features(samples, reference, found, device)
    y, n = of_y.features, len(samples)

    def score(metric: str, result: tuple[float, float], setting: str = "") -> Score:
        against = "" if metric == "inception_score" else name
        return Score(result[0], protocol(metric, found, against, samples, reference) + setting, n, result[1])

    value, se, extrapolated = fid(x.features, y, rng)
    subset = min(SUBSET_SIZE, n // 2, len(y) // 2)
    precision, recall = precision_recall(x.features, y)
    nearest = f"/{NEIGHBOURS}-nearest"
    return {
        "fid": score("fid", (value, se)),
        "fid[extrapolated]": score("fid", (extrapolated, se), f"/jackknife-{groups_of(y.shape[1])}"),
        "inception_score": score("inception_score", inception_score(x.logits, rng), f"/{SPLITS}-parts"),
        "kid": score("kid", kid(x.features, y, rng), f"/{SUBSETS}x{subset}"),
        "precision": score("precision", precision, nearest),
        "recall": score("recall", recall, nearest),
    }


def fid_alone(
    samples: NDArray[Any] | Tensor,
    reference: NDArray[Any] | Tensor,
    extractor: str,
    name: str,
    rng: Generator,
    device: str = "cpu",
) -> Score:
    """Return the `fid` that `quality` would give, which costs less; arguments and errors as there."""
    found = extractors.get(extractor)
    x, y = features(samples, reference, found, device)
    value, se, _ = fid(x.features, y.features, rng)
    return Score(value, protocol("fid", found, name, samples, reference), len(samples), se)


def features(
    samples: NDArray[Any] | Tensor, reference: NDArray[Any] | Tensor, extractor: Extractor, device: str
) -> tuple[Features, Features]:
    """Return the features of both sets, both checked before any weights are sought; see `quality`."""
    if min(samples.ndim, reference.ndim) > 0:
        enough(len(samples), len(reference), 0)
    return both(samples, reference, extractor, device)


def protocol(
    metric: str,
    extractor: Extractor,
    name: str,
    samples: NDArray[Any] | Tensor,
    reference: NDArray[Any] | Tensor,
) -> str:
    """Return the protocol id of a score, without the metric's settings; see `quality`. No name, no reference."""
    against = f"{name}-{count(len(reference))}/" if name else ""
    shrink = f"/antialiased to {extractor.side}" if shrinks(tuple(samples.shape), extractor) else ""
    return f"{metric}/{extractor.name}/{against}{count(len(samples))}/{extractor.dtype}{shrink}"


def count(n: int) -> str:
    """Return a number of samples as protocol ids spell it: 10000 is `10k`, 10500 is `10500`."""
    return str(n) if n % 1000 else f"{n // 1000}k"


def enough(n: int, m: int, d: int) -> None:
    """Check that both sets have at least 100 members and twice as many as there are features.

    With fewer a covariance is nearly singular, and the bias of FID is as large as what it measures.

    Raises:
        UserError: one has fewer.
    """
    if min(n, m) < max(LEAST, 2 * d):
        raise UserError(
            f"{n} samples and {m} of the reference are too few: give at least {max(LEAST, 2 * d)}"
        )


def groups_of(d: int) -> int:
    """Return the number of groups of FID's jackknife: 100, but 10 beyond 256 features, since each costs d^3."""
    return 100 if d <= 256 else 10


def fid(x: Array, y: Array, rng: Generator) -> tuple[float, float, float]:
    """Return the Frechet distance of features `(N, d)` and `(M, d)`, its standard error, and its extrapolation.

    Error and bias come from a jackknife over G random groups of each set, see `groups_of`: with F the distance and F_g
    that without group g, the squared error is (G - 1)/G sum_g (F_g - mean F_g)^2 and the bias (G - 1) (mean F_g - F),
    both summed over the two sets. The extrapolation F - bias has no term in 1/N and 1/M left, and may be negative.
    Where both laws agree the error is too large, by up to sqrt(2). Both sets are independent draws; where the samples
    are made from the reference itself, the bias is overestimated.

    Raises:
        UserError: see `enough`.
    """
    import torch

    enough(len(x), len(y), x.shape[1])
    parts = library("metric_fid")
    of_x, of_y = (parts.fid_features_to_statistics(torch.from_numpy(points)) for points in (x, y))

    def distance(first: dict[str, Array], second: dict[str, Array]) -> float:
        return float(parts.fid_statistics_to_metric(first, second, False)[parts.KEY_METRIC_FID])

    value = distance(of_x, of_y)
    without = np.array(
        [
            [distance(statistics, of_y) for statistics in _without_groups(x, rng)],
            [distance(of_x, statistics) for statistics in _without_groups(y, rng)],
        ]
    )
    mean, groups = without.mean(axis=1), without.shape[1]
    se = np.sqrt((groups - 1) / groups * np.sum((without - mean[:, None]) ** 2))
    return value, float(se), float(value - (groups - 1) * np.sum(mean - value))


def inception_score(logits: Array, rng: Generator) -> tuple[float, float]:
    """Return the mean over 10 random parts of exp E KL(p(c|x) | p(c)), logits `(N, C)`, and its standard error."""
    import torch

    parts = library("metric_isc")
    found = parts.isc_features_to_metric(torch.from_numpy(logits), SPLITS, True, _seed(rng))
    spread = found[parts.KEY_METRIC_ISC_STD]  # of the parts, divisor 10
    return found[parts.KEY_METRIC_ISC_MEAN], float(spread / np.sqrt(SPLITS - 1))


def kid(x: Array, y: Array, rng: Generator) -> tuple[float, float]:
    """Return the mean of MMD^2 over 100 pairs of subsets, and its standard error.

    A subset has m = 1000 members, but at most half of the smaller set, of n. Subsets of one set overlap, so their
    spread s tells of the whole s^2 = V (1/m - 1/n); the squared error is V/n + s^2/100. Where both laws agree it is too
    large. Unbiased, so it may be negative.
    """
    import torch

    parts = library("metric_kid")
    n = min(len(x), len(y))
    m = min(SUBSET_SIZE, n // 2)
    options = {"kid_subsets": SUBSETS, "kid_subset_size": m, "rng_seed": _seed(rng), "verbose": False}
    found = parts.kid_features_to_metric(*map(torch.from_numpy, (x, y)), **options)
    factor = m / (n - m) + 1 / SUBSETS
    return found[parts.KEY_METRIC_KID_MEAN], float(found[parts.KEY_METRIC_KID_STD] * np.sqrt(factor))


def precision_recall(x: Array, y: Array) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return precision and recall, each with the standard error of a share, the neighbourhoods taken as given.

    Copies among the features count as one, see `bench.metrics.share`.
    """
    import torch

    parts = library("metric_prc")
    # Memory grows as batch times samples, not as samples squared.
    options = {
        "prc_neighborhood": NEIGHBOURS,
        "prc_batch_size": 1000,
        "save_cpu_ram": True,
        "verbose": False,
    }
    found = parts.prc_features_to_metric(*map(torch.from_numpy, (x, y)), **options)
    return _share(found[parts.KEY_METRIC_PRECISION], x), _share(found[parts.KEY_METRIC_RECALL], y)


def _share(p: float, points: Array) -> tuple[float, float]:
    n = len(points)
    found = share(round(p * n), n, effective_size(points))  # the library's mean is of float32
    return found.p, found.se


def _seed(rng: Generator) -> int:
    return int(rng.integers(2**31))


def _without_groups(x: Array, rng: Generator) -> Iterator[dict[str, Array]]:
    """Yield mean and covariance of the rows without each random group, from sums: each costs little but its d^2."""
    centre = x.mean(axis=0)
    groups = [x[rows] - centre for rows in np.array_split(rng.permutation(len(x)), groups_of(x.shape[1]))]
    products = [group.T @ group for group in groups]
    total = np.sum(products, axis=0)
    for group, product in zip(groups, products):
        n = len(x) - len(group)
        mu = -group.sum(axis=0) / n  # all rows sum to zero
        yield {"mu": centre + mu, "sigma": (total - product - n * np.outer(mu, mu)) / (n - 1)}
