"""What of a series a record keeps: what a figure can show.

At most `POINTS` points, evenly spaced, the first and the last among them; `DIGITS` significant digits, whole numbers as
they are. Metrics are computed before that, and keep every digit.
"""

from __future__ import annotations

import math

from bench.record import Curve

POINTS = 300
DIGITS = 6


def compact(curve: Curve) -> Curve:
    """Return what a record keeps of a series.

    >>> compact(Curve((1.0, 2.0), (1 / 3, 123456789.0)))
    Curve(x=(1.0, 2.0), y=(0.333333, 123456789.0), x_label='', y_label='')
    """
    n = len(curve.x)
    places = range(n) if n <= POINTS else [round(i * (n - 1) / (POINTS - 1)) for i in range(POINTS)]
    x, y = (tuple(_rounded(values[i]) for i in places) for values in (curve.x, curve.y))
    return Curve(x, y, curve.x_label, curve.y_label)


def _rounded(value: float) -> float:
    if not math.isfinite(value) or value == round(value):
        return value
    return float(f"{value:.{DIGITS - 1}e}")
