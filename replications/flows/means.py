"""Means over points of what is known by batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def mean_over_points(values: Iterable[float], sizes: Iterable[int]) -> float:
    """Return sum_i n_i v_i / sum_i n_i, v_i the mean over the n_i points of batch i, in any unit.

    A short last batch weighs as little as it has points.

    >>> mean_over_points([1.0, 4.0], [3, 1])
    1.75

    Raises:
        ValueError: no value, two lengths, or a size below 1.
    """
    values, sizes = list(values), list(sizes)
    if len(values) != len(sizes) or min(sizes, default=0) < 1:
        raise ValueError(f"a mean over points needs as many positive sizes as values, got {sizes}")
    unit = math.gcd(*sizes)  # equal batches give the plain mean to the last bit
    weights = [n // unit for n in sizes]
    return math.fsum(n * v for n, v in zip(weights, values, strict=True)) / sum(weights)


def sizes_of(n: int, batch: int) -> list[int]:
    """Return the points of each batch of n points; the last may have fewer."""
    return [min(batch, n - start) for start in range(0, n, batch)]


def cycled(sizes: Sequence[int], iterations: int) -> list[int]:
    """Return the points of each iteration's batch, given those of an epoch's batches."""
    return [sizes[i % len(sizes)] for i in range(iterations)]


def averaged_over(sizes: Iterable[int]) -> str:
    """Return what a mean is over, for a protocol: `points`, or `batches` of one size, which is the same."""
    return "points" if len(set(sizes)) > 1 else "batches"
