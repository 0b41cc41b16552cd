"""Numbers with their intervals, as every report and the console write them.

The width of an interval says how many digits of a number mean anything: the larger distance of its ends is shown with
two digits, the number and the ends to the same decimal place, the ends rounded outwards. So the written interval holds
the interval, and the written number lies inside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal

from bench.report.table import number

DIGITS, MOST = 2, 6
"""Digits of a half-width that are written, and of a number at most."""

_EXACT = Context(prec=700)  # enough for the sum of any two floats as they are written in full


def with_interval(
    value: float, low: float | None, high: float | None, finest: int | None = None
) -> tuple[str, str, str]:
    """Return a number and the ends of its interval as text, rounded by the interval, the ends outwards.

    >>> with_interval(0.12345, 0.1201, 0.1291), with_interval(26, 26, 26)
    (('0.1234', '0.1201', '0.1291'), ('26', '26', '26'))

    Args:
        value: the number; where it lies outside, the interval is widened to it.
        low: the lower end; None, and empty text, where there is no interval.
        high: the upper end.
        finest: exponent of a decimal place that is shown whatever the width is.
    """
    if low is None or high is None:
        return number(value), "", ""
    low, high = min(low, value), max(high, value)
    if not all(map(math.isfinite, (value, low, high))):
        return tuple(number(x) for x in (value, low, high))  # type: ignore[return-value]
    if low == high:
        text = number(value, MOST)
        return text, text, text
    place = _place(value, low, high, finest)
    ends = zip((value, low, high), (ROUND_HALF_EVEN, ROUND_FLOOR, ROUND_CEILING), strict=True)
    shown = [_round(_decimal(x), place, rounding) for x, rounding in ends]
    middle, lower, upper = _written(shown)
    return middle, lower, upper


def plus_minus(value: float, low: float, high: float) -> str:
    """Return a number and how far its interval goes from what is written, `1.10 ± 0.25`; both to one decimal place."""
    if not all(map(math.isfinite, (value, low, high))):
        return f"{number(value)} ± {number(high - value)}"
    low, high = min(low, value), max(high, value)
    if low == high:
        return f"{number(value, MOST)} ± 0"
    place = _place(value, low, high, None)
    middle = _round(_decimal(value), place, ROUND_HALF_EVEN)
    half = max(_EXACT.subtract(_decimal(high), middle), _EXACT.subtract(middle, _decimal(low)))
    return " ± ".join(_written([middle, _round(half, place, ROUND_CEILING)]))


def _place(value: float, low: float, high: float, finest: int | None) -> int:
    """Return the exponent of the last decimal place that is written."""
    v, a, b = map(_decimal, (value, low, high))
    half = max(_EXACT.subtract(v, a), _EXACT.subtract(b, v))
    largest = max(abs(a), abs(b))
    place = max(half.adjusted() - DIGITS + 1, largest.adjusted() - MOST + 1)
    return place if finest is None else min(place, finest)


def _decimal(x: float) -> Decimal:
    """Return a number as it is written in full, 0.1 as 0.1."""
    return Decimal(repr(float(x)))


def _round(x: Decimal, place: int, rounding: str) -> Decimal:
    return x.quantize(Decimal(1).scaleb(place), rounding, _EXACT)


def _written(numbers: Sequence[Decimal]) -> list[str]:
    """Return decimals as text with all digits; by powers of ten where the largest is above 10^9 or below 10^-4."""
    numbers = [abs(x) if x == 0 else x for x in numbers]
    largest = max(map(abs, numbers))
    plain = largest == 0 or -4 <= largest.adjusted() < 9
    return [f"{x:f}" if plain or x == 0 else _power(x) for x in numbers]


def _power(x: Decimal) -> str:
    mantissa, exponent = f"{x:e}".split("e")
    return f"{mantissa}e{int(exponent):+03d}"
