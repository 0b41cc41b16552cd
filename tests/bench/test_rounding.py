"""A written number lies inside its written interval, which holds the interval; in all formats."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.claim import Claim
from bench.report import latex, markdown, verdicts
from bench.report.rounding import plus_minus, with_interval
from bench.report.table import Column, Table, csv_text
from bench.stats import Interval
from bench.verdict import Verdict

ANY = st.floats(allow_nan=False, allow_infinity=False, width=64)
MAGNITUDES = st.builds(lambda m, e: m * 10.0**e, st.floats(-10, 10), st.integers(-30, 30))
COUNTS = st.integers(0, 10**12).map(float)
PERCENT = st.floats(0, 100)
NUMBERS = st.one_of(MAGNITUDES, COUNTS, PERCENT, ANY)
WIDTHS = st.one_of(st.just(0.0), MAGNITUDES.map(abs), st.floats(0, 1e-12), st.integers(0, 1000).map(float))


def exact(x: float) -> Decimal:
    return Decimal(repr(x))


def triple(value: float, below: float, above: float) -> tuple[float, float, float]:
    low, high = value - below, value + above
    assume(abs(low) < 1e308 and abs(high) < 1e308)
    return value, low, high


@given(NUMBERS, WIDTHS, WIDTHS)
def test_the_written_number_lies_inside_the_written_interval_that_holds_the_interval(value, below, above):
    value, low, high = triple(value, below, above)
    texts = with_interval(value, low, high)
    v, a, b = map(Decimal, texts)
    assert a <= v <= b
    if low == high:
        assert len(set(texts)) == 1
        return
    assert a <= exact(low)
    assert b >= exact(high)
    half = max(exact(value) - exact(low), exact(high) - exact(value))
    size = max(abs(exact(low)), abs(exact(high)))
    unit = max(half / 10, size / 100_000)  # two digits of the half-width, at most six of the number
    assert abs(v - exact(value)) <= unit / 2
    assert exact(low) - a <= unit
    assert b - exact(high) <= unit
    assert len({len(text.partition(".")[2]) for text in texts if "e" not in text}) <= 1  # one decimal place


@given(NUMBERS, WIDTHS, WIDTHS)
def test_plus_and_minus_hold_the_interval(value, below, above):
    value, low, high = triple(value, below, above)
    v, h = map(Decimal, plus_minus(value, low, high).split(" ± "))
    if low == high:
        assert h == 0
        return
    assert v - h <= exact(low)
    assert v + h >= exact(high)
    half = max(exact(value) - exact(low), exact(high) - exact(value))
    unit = max(half / 10, max(abs(exact(low)), abs(exact(high))) / 100_000)
    assert h <= half + 2 * unit


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (0.12345, 0.1201, 0.1291, "0.1234 [0.1201, 0.1291]"),
        (99.996, 99.9, 100.0, "99.996 [99.900, 100.000]"),
        (100.0, 96.378, 100.0, "100.0 [96.3, 100.0]"),
        (1234567.0, 1234566.8, 1234567.2, "1234570 [1234560, 1234570]"),
        (123456.0, 121111.0, 125801.0, "123500 [121100, 125900]"),
        (26.4, 25.13, 27.67, "26.4 [25.1, 27.7]"),
        (5.2e-4, 5.1e-4, 5.3e-4, "0.000520 [0.000510, 0.000530]"),
        (5.2e-5, 5.1e-5, 5.3e-5, "5.20e-05 [5.10e-05, 5.30e-05]"),
        (26.0, 26.0, 26.0, "26 [26, 26]"),
        (0.5, -119.0, 120.0, "0 [-120, 120]"),
        (-0.001, -0.3, 0.298, "0.00 [-0.30, 0.30]"),
        (1.23456e-7, 1.2e-7, 1.27e-7, "1.235e-07 [1.200e-07, 1.270e-07]"),
        (6.02214e23, 6.0e23, 6.1e23, "6.022e+23 [6.000e+23, 6.100e+23]"),
        (0.0, 0.0, 0.0377, "0.000 [0.000, 0.038]"),
        (2.0, 2.0, float("inf"), "2 [2, inf]"),
        (1.0, 1.5, 2.0, "1.0 [1.0, 2.0]"),
    ],
)
def test_known_cases(value, low, high, expected):
    text, lower, upper = with_interval(value, low, high)
    assert f"{text} [{lower}, {upper}]" == expected


def test_a_tolerance_is_seen_whatever_the_width_is():
    assert with_interval(2.0492, -1.5, 5.6, finest=-2) == ("2.05", "-1.50", "5.60")
    assert with_interval(2.0492, -1.5, 5.6) == ("2.0", "-1.5", "5.6")


def test_one_seed_has_no_interval():
    assert with_interval(0.5, None, None) == ("0.5000", "", "")


@given(MAGNITUDES, MAGNITUDES.map(abs), st.sampled_from([None, 0.05, 0.5, 3.0]))
def test_all_formats_write_one_text(value, half, tolerance):
    claim = Claim("a.b", "a", "t", "w", "value", "read", value=1.0, tolerance_abs=tolerance, unit="nats")
    interval = Interval(value, value - half, value + half, 3)
    text = verdicts.measured(Verdict(claim, "reproduced", interval))
    number = r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?"
    found = re.fullmatch(rf"({number}) \[({number}), ({number})\] nats", text)
    assert found is not None
    v, a, b = map(Decimal, found.groups())
    assert a <= v <= b
    if interval.low != interval.high:
        assert a <= exact(value - half)
        assert b >= exact(value + half)
    table = Table("t", "c", (Column("x"), Column("y")), (("row", text),))
    assert markdown.escape(text) in markdown.render(table)
    assert latex.escape(text) in latex.render(table)
    powers = re.findall(r"(-?[\d.]+)(?:\\times10\^\{(-?\d+)\})?", latex.escape(text))
    assert [Decimal(m).scaleb(int(e or 0)) for m, e in powers] == [v, a, b]
    rows = csv_text(("v", "low", "high"), [(interval.mean, interval.low, interval.high)])
    mean, low, high = map(float, list(csv.reader(io.StringIO(rows)))[1])
    assert low <= mean <= high
    assert (mean, low, high) == (interval.mean, interval.low, interval.high)
