"""How many seeds would settle a claim, on the scale on which the judge compares.

Symbols: mu and sigma of one seed, m and s their estimates over n seeds, t_{q,k} the q-quantile of Student's t with k
degrees of freedom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bench.claim import ORDERS, Claim
from bench.inference import seeds_needed
from bench.stats import Interval, student_t
from bench.verdict import is_quotient

MOST = 1000
"""Seeds beyond which an estimate counts as lying on the limit."""
GRID = 400
"""Points of the integral over the estimated standard deviation."""


@dataclass(frozen=True)
class Seen:
    """What an interval says on the scale of the judge: that of logarithms for quotients of positive numbers.

    Args:
        mean: of one seed's number.
        deviation: its standard deviation.
        low: lower end of what counts as equal, or the limit of an order.
        high: upper end; the same as `low` for an order.
    """

    mean: float
    deviation: float
    low: float
    high: float


def seen(claim: Claim, interval: Interval) -> Seen | None:
    """Return an interval of 95 % on the scale of the judge, None where one seed gives none.

    Its half-width is t_{0.975,n-1} s / sqrt(n); where the two sides are not paired, or the interval is Fieller's, the
    deviation that follows is that of pairs which would give an interval as wide.
    """
    if interval.low is None or interval.high is None:
        return None
    log = is_quotient(claim) and interval.low > 0
    mean, low, high = (_log(x) if log else x for x in (interval.mean, interval.low, interval.high))
    deviation = (high - low) / 2 * math.sqrt(interval.n) / student_t(interval.n - 1, 0.95)
    edges = (claim.limit, claim.limit) if claim.relation in ORDERS else claim.margin
    return Seen(mean, deviation, *(_log(x) if log else x for x in edges))


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def seeds_to_settle(found: Seen, level: float, chance: float = 0.8) -> int | None:
    """Return the least n that settles with a chance what the estimates say, were they the truth; None above `MOST`.

    Outside [low, high]: the interval of a level 1 - alpha lies wholly beyond the nearer end (`bench.inference.power`).
    Inside: two one-sided tests at alpha call it equal (`equality_power`).
    """
    if found.deviation == 0:
        return None if found.mean in (found.low, found.high) and found.low == found.high else 2
    if not found.low <= found.mean <= found.high or found.low == found.high:
        distance = min(abs(found.mean - found.low), abs(found.mean - found.high))
        return seeds_needed(distance / found.deviation, chance, level, MOST)
    return _least_equal(found, level, chance)


def _least_equal(found: Seen, level: float, chance: float) -> int | None:
    if equality_power(found, MOST, level) < chance:
        return None
    low, high = 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if equality_power(found, middle, level) >= chance else (middle, high)
    return high


def equality_power(found: Seen, n: int, level: float) -> float:
    """Return the chance that n seeds are called equal: m -+ t_{level,n-1} s / sqrt(n) within [low, high].

    With Phi the normal distribution and h = t_{level,n-1} s / sqrt(n), the mean over the distribution of s, where
    (n-1) s^2 / sigma^2 is chi-squared with n-1 degrees of freedom, of

        max(0, Phi((high - h - mu) sqrt(n) / sigma) - Phi((low + h - mu) sqrt(n) / sigma))

    by the midpoint rule in the quantiles of s. 0 for n = 1.
    """
    from scipy.special import gammaincinv, ndtr

    if n < 2:
        return 0.0
    quantiles = (np.arange(GRID) + 0.5) / GRID
    s = found.deviation * np.sqrt(2 * gammaincinv((n - 1) / 2, quantiles) / (n - 1))
    half = student_t(n - 1, 2 * level - 1) * s / math.sqrt(n)
    scale = math.sqrt(n) / found.deviation
    inside = ndtr((found.high - half - found.mean) * scale) - ndtr((found.low + half - found.mean) * scale)
    return float(np.maximum(inside, 0.0).mean())
