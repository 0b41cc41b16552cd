"""A share of n points, such as an accuracy: its interval and its standard error, honest also near 0 and 1.

| symbol | name in the code | meaning                                                     |
|--------|------------------|-------------------------------------------------------------|
| p      | `Share.p`        | k / n, k of n points                                        |
| m      | `effective`      | points that are independent, at most n; see `effective_size` |
| z      |                  | the normal quantile, 1.96 at 95 %                           |

sqrt(p (1 - p) / n) is zero at p = 0 and p = 1, however few the points are. The interval here is Clopper and Pearson's
(clopper1934use), with m p for k and m for n: it holds every p' that a binomial test does not refuse, so it covers the
truth at least as often as its level says, for every n and p; Wilson's is shorter, but near the ends does not. The
standard error is the distance to its farther end over z: p -+ z se contains the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95


@dataclass(frozen=True)
class Share:
    """A share of n points, its standard error and its interval, all between 0 and 1."""

    p: float
    se: float
    low: float
    high: float
    n: int

    @property
    def percent(self) -> tuple[float, float]:
        """Share and standard error in %."""
        return 100 * self.p, 100 * self.se


def share(k: int, n: int, effective: float | None = None, level: float = LEVEL) -> Share:
    """Return the share k / n with its interval; `effective` points of the n are independent, all by default.

    >>> found = share(100, 100)
    >>> f"{found.p:g} [{found.low:.4f}, {found.high:g}], se {found.se:.4f}"
    '1 [0.9638, 1], se 0.0185'

    Raises:
        ValueError: no points, k outside 0..n, or an effective number outside (0, n].
    """
    m = n if effective is None else effective
    if not 0 <= k <= n or not 0 < m <= n:
        raise ValueError(f"a share needs 0 <= k <= n and points, got k = {k}, n = {n}, of which {m:g} count")
    p = k / n
    low, high = interval(p * m, m, level)
    low, high = min(low, p), max(high, p)  # rounding
    return Share(p, max(p - low, high - p) / _normal((1 + level) / 2), low, high, n)


def interval(k: float, m: float, level: float = LEVEL) -> tuple[float, float]:
    """Return Clopper and Pearson's interval of k of m.

    The ends are the alpha/2 quantile of Beta(k, m - k + 1), 0 at k = 0, and the 1 - alpha/2 quantile of
    Beta(k + 1, m - k), 1 at k = m.
    """
    from scipy.special import betaincinv  # scipy.stats takes most of a second to import

    tail = (1 - level) / 2
    low = float(betaincinv(k, m - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, m - k, 1 - tail)) if k < m else 1.0
    return low, high


def effective_size(*columns: Any) -> float:
    """Return how many of n points are independent, n^2 / sum_g m_g^2 over groups of m_g equal points (kish1965survey).

    Copies of a point are answered alike: ten times the same hundred images are a hundred images.

    Args:
        columns: arrays or tensors `(N, *S)`, which together say what a point is, such as images and their labels.
    """
    rows: list[NDArray[Any]] = [_rows(column) for column in columns]
    keys = zip(*([row.tobytes() for row in part] for part in rows), strict=True)
    counts: dict[tuple[bytes, ...], int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    n = sum(counts.values())
    return n**2 / sum(m**2 for m in counts.values()) if n else 0.0


def _rows(column: Any) -> NDArray[Any]:
    x = np.asarray(column if isinstance(column, np.ndarray) else column.detach().cpu())
    return np.ascontiguousarray(x + 0)  # -0 is 0


def _normal(q: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(q))
