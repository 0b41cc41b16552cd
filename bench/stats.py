"""Intervals over seeds and over test points, paired comparisons of methods, fitted slopes.

Symbols: x_i the n values, m their mean, s their standard deviation (n - 1 in the denominator), t_{q,k} the
q-quantile of Student's t with k degrees of freedom, level = 1 - alpha.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = Sequence[float] | NDArray[np.floating]


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval; `low` and `high` are None where n = 1."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Fit:
    """A fitted line y = intercept + slope x; `slope_se`, the slope's standard error, is None where n = 2."""

    slope: float
    intercept: float
    slope_se: float | None
    n: int


def mean_interval(values: Values, level: float = 0.95) -> Interval:
    """Return the mean over seeds and its Student-t interval, m -+ t_{1 - alpha/2, n-1} s / sqrt(n).

    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> f"{interval.mean:g} [{interval.low:.3f}, {interval.high:.3f}]"
    '2 [-0.484, 4.484]'

    Raises:
        ValueError: no values.
    """
    x = values_of(values)
    mean = float(x.mean())
    if x.size == 1:
        return Interval(mean, None, None, 1)
    half = student_t(x.size - 1, level) * float(x.std(ddof=1)) / math.sqrt(x.size)
    return Interval(mean, mean - half, mean + half, x.size)


def paired_difference(a: Values, b: Values, level: float = 0.95) -> Interval:
    """Return the mean of a_i - b_i and its Student-t interval; pairs share their seed.

    Raises:
        ValueError: no values, or two lengths.
    """
    return mean_interval(np.subtract(*pairs(a, b)), level)


def paired_ratio(a: Values, b: Values, level: float = 0.95) -> Interval:
    """Return the geometric mean of a_i / b_i and its interval, exp of that of the mean of log a_i - log b_i.

    Raises:
        ValueError: no values, two lengths, or a value that is not positive.
    """
    x, y = pairs(a, b)
    return exponential(mean_interval(_log(x) - _log(y), level))


def exponential(logs: Interval) -> Interval:
    """Return the interval of exp x, given that of x; a bound beyond the largest float is infinite."""
    with np.errstate(over="ignore"):
        mean, low, high = (
            None if x is None else float(np.exp(np.float64(x))) for x in (logs.mean, logs.low, logs.high)
        )
    assert mean is not None
    return Interval(mean, low, high, logs.n)


def bootstrap_interval(
    values: Values,
    generator: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    statistic: Callable[[NDArray[np.float64]], float] = np.mean,
) -> Interval:
    """Return a statistic of many test points and its percentile bootstrap interval.

    The interval is the alpha/2 and 1 - alpha/2 quantile of the statistic over samples of n points drawn with
    replacement. It is far too narrow for a handful of seeds: take `mean_interval` there.

    Raises:
        ValueError: no values.
    """
    x = values_of(values)
    estimate = float(statistic(x))
    if x.size == 1:
        return Interval(estimate, None, None, 1)
    draws = [float(statistic(x[generator.integers(x.size, size=x.size)])) for _ in range(resamples)]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), x.size)


def fit_line(x: Values, y: Values) -> Fit:
    """Return the least-squares line; with residuals r_i, slope_se^2 = sum r_i^2 / (n - 2) / sum (x_i - m)^2.

    Raises:
        ValueError: two lengths, or fewer than two distinct x.
    """
    u, v = pairs(x, y)
    centred = u - u.mean()
    spread = float(centred @ centred)
    if spread == 0:
        raise ValueError("a line needs at least two distinct x")
    slope = float(centred @ v) / spread
    intercept = float(v.mean() - slope * u.mean())
    if u.size == 2:
        return Fit(slope, intercept, None, 2)
    residuals = v - intercept - slope * u
    return Fit(slope, intercept, math.sqrt(float(residuals @ residuals) / (u.size - 2) / spread), u.size)


def fit_exponent(x: Values, y: Values) -> Fit:
    """Return the power law y = exp(intercept) x^slope: the least-squares line of log y against log x.

    Raises:
        ValueError: two lengths, fewer than two distinct x, or a value that is not positive.
    """
    u, v = pairs(x, y)
    return fit_line(_log(u), _log(v))


def values_of(values: Values) -> NDArray[np.float64]:
    """Return a list of numbers as an array, at least one.

    Raises:
        ValueError: no values, or not a list of numbers.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"expected a non-empty list of numbers, got shape {x.shape}")
    return x


def pairs(a: Values, b: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two lists of numbers, one entry a seed in each, as arrays.

    Raises:
        ValueError: no values, or two lengths.
    """
    x, y = values_of(a), values_of(b)
    if x.size != y.size:
        raise ValueError(f"pairs need equal lengths, got {x.size} and {y.size}")
    return x, y


def _log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    if not (x > 0).all():
        raise ValueError("logarithms need positive values")
    return np.log(x)


def student_t(freedom: float, level: float) -> float:
    """Return the (1 + level) / 2 quantile of Student's t."""
    from scipy.special import stdtrit  # scipy.stats takes most of a second to import

    return float(stdtrit(freedom, (1 + level) / 2))
