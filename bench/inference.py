"""What a verdict rests on: which side of a limit the seeds lie on, equivalence, families of verdicts, power.

Symbols as in `bench.stats`: x_i the n values, m their mean, s their standard deviation, t_{q,k} the q-quantile of
Student's t with k degrees of freedom, level = 1 - alpha. `scipy.special` is imported where it is needed, because
`cnf-bench list` must start without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

from bench.stats import Interval, pairs, student_t, values_of

if TYPE_CHECKING:
    from bench.stats import Values


LOOKS = (0.96, 0.99)
"""Level of the interval that decides at the first look at a claim, and at the second and last, at added seeds alone.

Whoever looks again where the first look left a claim open has two chances to be wrong. With alpha_1 = 4 % and
alpha_2 = 1 % the chance to be wrong at either is at most alpha_1 + alpha_2 = 5 % (Bonferroni), however the number of
added seeds was chosen, as nothing that chose it is judged again.
"""
ERROR = 0.05
"""Chance of a false verdict, over all looks."""

Estimate = Callable[[float], Interval]
"""Level -> interval; those of a lower level lie within those of a higher one."""


class Side(Enum):
    """Where an interval lies of a limit; `ASTRIDE` also where there is no interval (one seed)."""

    BELOW = "below"
    ABOVE = "above"
    ASTRIDE = "astride"


def side(interval: Interval, limit: float) -> Side:
    """Return the side of a limit that the whole interval lies on; a bound that meets the limit includes it."""
    if interval.low is None or interval.high is None:
        return Side.ASTRIDE
    if interval.high < limit:
        return Side.BELOW
    return Side.ABOVE if interval.low > limit else Side.ASTRIDE


class Equivalence(Enum):
    """What two one-sided tests say of a quantity against a range around a target."""

    EQUAL = "equal"
    LOWER = "lower"
    HIGHER = "higher"
    UNDECIDED = "undecided"


def equivalence(estimate: Estimate, low: float, high: float, level: float = 0.95) -> Equivalence:
    """Return whether a quantity is within [low, high], below it, above it, or undecided.

    Two one-sided tests, each at alpha (Schuirmann 1987): `EQUAL` where the interval of level 1 - 2 alpha lies within
    [low, high]. `LOWER` and `HIGHER` where the interval of level 1 - alpha lies wholly beyond. For a quantity at the
    edge the chance of `EQUAL` is at most alpha, that of `LOWER` or `HIGHER` alpha / 2.

    Args:
        estimate: level -> interval.
        low: the lower end of what counts as equal, stated before the runs.
        high: the upper end.
        level: 1 - alpha.

    Raises:
        ValueError: low above high.
    """
    if low > high:
        raise ValueError(f"a range from {low:g} to {high:g} holds nothing")
    narrow = estimate(2 * level - 1)
    if narrow.low is None or narrow.high is None:
        return Equivalence.UNDECIDED
    if low <= narrow.low and narrow.high <= high:
        return Equivalence.EQUAL
    wide = estimate(level)
    if side(wide, low) is Side.BELOW:
        return Equivalence.LOWER
    return Equivalence.HIGHER if side(wide, high) is Side.ABOVE else Equivalence.UNDECIDED


def p_beyond(estimate: Estimate, limit: float, on: Side | None = None) -> float:
    """Return the least alpha at which the interval leaves a limit out, lying on one side of it if that is given.

    It is the two-sided p-value of the test that the interval inverts; 1 for one seed.
    """

    def decided(alpha: float) -> bool:
        found = side(estimate(1 - alpha), limit)
        return found is not Side.ASTRIDE if on is None else found is on

    return _least_alpha(decided)


def p_within(estimate: Estimate, low: float, high: float) -> float:
    """Return the p-value of two one-sided tests that a quantity is outside [low, high]: the least alpha for `EQUAL`."""
    return _least_alpha(
        lambda alpha: equivalence(estimate, low, high, 1 - alpha) is Equivalence.EQUAL, most=0.5
    )


def _least_alpha(decided: Callable[[float], bool], most: float = 1.0) -> float:
    """Return the least alpha at which intervals of level 1 - alpha decide, to a relative 1e-6; 0 below 1e-12."""

    def decided_at(alpha: float) -> bool:
        try:
            return decided(alpha)
        except ValueError:  # no bounded interval at that level
            return False

    low, high = 1e-12, most * (1 - 1e-12)
    if decided_at(low):
        return 0.0
    if not decided_at(high):
        return 1.0
    while high > low * (1 + 1e-6):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if decided_at(middle) else (middle, high)
    return high


def welch_difference(a: Values, b: Values, level: float = 0.95) -> Interval:
    """Return the difference of the means of two independent samples and its interval (Welch 1947).

    With v = s_a^2 / n_a + s_b^2 / n_b the interval is m_a - m_b -+ t_{1 - alpha/2, k} sqrt(v), and by Satterthwaite
    k = v^2 / ((s_a^2 / n_a)^2 / (n_a - 1) + (s_b^2 / n_b)^2 / (n_b - 1)). `n` is the smaller count.

    Raises:
        ValueError: no values.
    """
    x, y = values_of(a), values_of(b)
    estimate, n = float(x.mean() - y.mean()), min(x.size, y.size)
    if n == 1:
        return Interval(estimate, None, None, 1)
    u, v = (float(z.var(ddof=1)) / z.size for z in (x, y))
    if u + v == 0:
        return Interval(estimate, estimate, estimate, n)
    freedom = (u + v) ** 2 / (u**2 / (x.size - 1) + v**2 / (y.size - 1))
    half = student_t(freedom, level) * math.sqrt(u + v)
    return Interval(estimate, estimate - half, estimate + half, n)


def fieller_ratio(a: Values, b: Values, level: float = 0.95) -> Interval:
    """Return the quotient of the means of paired values and its interval (Fieller 1954).

    The interval holds the r for which the mean of a_i - r b_i is not significantly different from 0: the roots of
    (m_a - r m_b)^2 = t^2 (v_aa - 2 r v_ab + r^2 v_bb), where v are the (co)variances of the means.

    Raises:
        ValueError: no values, two lengths, or a mean of b that may be zero, where no bounded interval exists.
    """
    x, y = pairs(a, b)
    top, bottom, n = float(x.mean()), float(y.mean()), x.size
    if n == 1:
        if bottom == 0:
            raise ValueError("the denominator is zero")
        return Interval(top / bottom, None, None, 1)
    quantile = student_t(n - 1, level) ** 2 / n
    v_aa, v_bb = (quantile * float(z.var(ddof=1)) for z in (x, y))
    v_ab = quantile * float((x - top) @ (y - bottom)) / (n - 1)
    square = bottom**2 - v_bb
    if square <= 0:
        raise ValueError(f"the denominator may be zero: its mean is {bottom:g} over {n} seeds")
    middle = top * bottom - v_ab
    root = math.sqrt(max(middle**2 - square * (top**2 - v_aa), 0.0))
    return Interval(top / bottom, (middle - root) / square, (middle + root) / square, n)


def discoveries(p_values: Sequence[float], rate: float = 0.05) -> list[bool]:
    """Return which verdicts of a family hold at a false discovery rate (Benjamini and Hochberg 1995).

    With p_(1) <= ... <= p_(m), those up to the largest k with p_(k) <= k rate / m.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    last = max((k for k, i in enumerate(order, 1) if p_values[i] <= k * rate / len(order)), default=0)
    kept = set(order[:last])
    return [i in kept for i in range(len(p_values))]


def over_looks(p: float, level: float) -> float:
    """Return the p-value of a look at a level, given that there may be another: p ERROR / (1 - level), at most 1.

    It is below `ERROR` where that look decides, and below u with a chance of at most u over both looks, u <= ERROR.
    """
    return min(1.0, p * ERROR / (1 - level))


def power(effect: float, n: int, level: float = 0.95) -> float:
    """Return the chance that an interval of n seeds lies wholly on the true side of the limit.

    Args:
        effect: distance of the true mean from the limit, in standard deviations of one seed.
        n: seeds.
        level: of the interval.

    One minus the noncentral t distribution with k = n - 1 and noncentrality effect sqrt(n) at t_{1 - alpha/2, k}.
    """
    from scipy.special import nctdtr

    if n < 2:
        return 0.0
    missed = float(nctdtr(n - 1, abs(effect) * math.sqrt(n), student_t(n - 1, level)))
    return 1.0 if math.isnan(missed) else 1.0 - missed  # too far for the library


def seeds_needed(effect: float, chance: float = 0.8, level: float = 0.95, most: int = 1000) -> int | None:
    """Return the least n whose `power` reaches a chance, None where more than `most` seeds are needed."""
    if power(effect, most, level) < chance:
        return None
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, middle, level) >= chance else (middle, high)
    return high


def smallest_effect(n: int, chance: float = 0.8, level: float = 0.95) -> float:
    """Return the least effect, in standard deviations of one seed, that n seeds see with a chance; inf for n = 1."""
    if n < 2:
        return math.inf
    low, high = 0.0, 1e4
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, n, level) >= chance else (middle, high)
    return high
