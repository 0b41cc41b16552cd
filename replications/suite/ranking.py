r"""Who is better than whom: paired differences over seeds, groups that can't be told apart, mean ranks over data sets.

| symbol | code | equation |
|---|---|---|
| v_m,s | `Values` | what method m reached with seed s; lower is better |
| told apart | `apart` | the interval of mean_s (v_m,s - v_k,s) leaves out 0, at level 1 - alpha / pairs (Bonferroni) |
| letters | `letters` | methods that share a letter are not told apart (compact letter display, piepho2004algorithm) |
| mean rank | `mean_ranks` | mean over data sets of the rank of mean_s v_m,s; interval by bootstrap |
"""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.inference import Side, side
from bench.stats import Interval, paired_difference

Values = Mapping[str, Mapping[int, float]]
"""Method -> seed -> value; lower is better, infinite for a run that failed."""


def mean(values: Mapping[int, float]) -> float:
    """Return the mean over seeds."""
    return float(np.mean(list(values.values())))


def difference(a: Mapping[int, float], b: Mapping[int, float], level: float = 0.95) -> Interval | None:
    """Return the interval of the mean of a - b over the seeds of both; None for fewer than two, or a failed run."""
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) < 2 or not math.isfinite(mean(a) + mean(b)):
        return None
    return paired_difference([a[s] for s in seeds], [b[s] for s in seeds], level)


def apart(values: Values, level: float = 0.95) -> set[frozenset[str]]:
    """Return the pairs that can be told apart, all pairs judged together at a level."""
    pairs = list(itertools.combinations(values, 2))
    found = set()
    for a, b in pairs:
        interval = difference(values[a], values[b], 1 - (1 - level) / len(pairs))
        if interval is not None and side(interval, 0.0) is not Side.ASTRIDE:
            found.add(frozenset((a, b)))
    return found


def letters(values: Values, level: float = 0.95) -> dict[str, str]:
    """Return the letters of each method, `a` for the best group; those that share one can't be told apart.

    A method with a failed run, or with a single seed, has none.
    """
    values = {name: v for name, v in values.items() if len(v) > 1 and math.isfinite(mean(v))}
    if not values:
        return {}
    groups = [frozenset(values)]
    for pair in apart(values, level):
        parts = [group - {one} for group in groups if pair <= group for one in pair]
        groups = _largest([group for group in groups if not pair <= group] + parts)
    order = sorted(values, key=lambda name: mean(values[name]))
    groups.sort(key=lambda group: sorted(order.index(name) for name in group))
    names = dict(zip(groups, _names(len(groups))))
    return {name: "".join(names[group] for group in groups if name in group) for name in values}


def _largest(groups: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """Return the groups that are part of no other one, each once."""
    distinct = list(dict.fromkeys(groups))
    return [group for group in distinct if not any(group < other for other in distinct)]


def _names(n: int) -> list[str]:
    """Return a, b, ... z, then a', b', ..."""
    return [letter + "'" * (i // 26) for i, letter in zip(range(n), itertools.cycle(string.ascii_lowercase))]


def mean_ranks(
    tables: Mapping[str, Values], generator: np.random.Generator, level: float = 0.95, resamples: int = 2000
) -> dict[str, Interval]:
    """Return the mean rank of each method over data sets, 1 the best, with its bootstrap interval.

    Only methods that every data set has are ranked, by the seeds that all of them have there. A resample draws as many
    data sets as there are, and for each of them seeds, with replacement; the seeds are drawn for all methods together.

    Args:
        tables: data set -> values.
        generator: draws the resamples.
        level: of the interval.
        resamples: how many.

    Raises:
        ValueError: no method is on every data set.
    """
    names = [
        name for name in next(iter(tables.values())) if all(name in values for values in tables.values())
    ]
    if not names:
        raise ValueError("no method has values on every data set")
    arrays = [_array(values, names) for values in tables.values()]
    estimate = np.mean([_ranks(array.mean(1)) for array in arrays], axis=0)
    draws = np.array([_resampled(arrays, generator) for _ in range(resamples)])
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {
        name: Interval(float(estimate[i]), float(low[i]), float(high[i]), len(arrays))
        for i, name in enumerate(names)
    }


def _array(values: Values, names: Sequence[str]) -> NDArray[np.float64]:
    """Return values `(methods, seeds)` of the seeds that all methods have."""
    seeds = sorted(set.intersection(*(set(values[name]) for name in names)))
    return np.array([[values[name][seed] for seed in seeds] for name in names], dtype=np.float64)


def _resampled(arrays: Sequence[NDArray[np.float64]], generator: np.random.Generator) -> NDArray[np.float64]:
    chosen = generator.integers(len(arrays), size=len(arrays))
    ranks = []
    for place in chosen:
        array = arrays[place]
        seeds = generator.integers(array.shape[1], size=array.shape[1])
        ranks.append(_ranks(array[:, seeds].mean(1)))
    found: NDArray[np.float64] = np.mean(ranks, axis=0)
    return found


def _ranks(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each, 1 for the lowest; equal ones share the mean of their ranks."""
    below = (means[None] < means[:, None]).sum(1)
    equal = (means[None] == means[:, None]).sum(1)
    found: NDArray[np.float64] = below + (equal + 1) / 2
    return found
