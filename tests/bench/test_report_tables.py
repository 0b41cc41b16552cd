"""The table model, how numbers and marks are written, and the style of figures; no record is needed."""

from dataclasses import replace

import pytest

from bench.claim import Claim
from bench.report import latex, style, verdicts
from bench.report.table import Column, Table, display_unit, narrowed, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (208266.0, "208266"), (0.97512, "0.9751"), (97.1, "97.10"), (1234.56, "1235"),
        (-0.0123456, "-0.01235"), (1.23456e-5, "1.235e-05"), (1.5e12, "1.500e+12"), (0.0, "0"),
        (float("nan"), "nan"),
    ],
)  # fmt: skip
def test_numbers_keep_four_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("unit", "values", "shown"),
    [
        ("bytes", [10.0, 2048.0], ("KiB", 1024.0)), ("bytes/step", [2**21], ("MiB/step", 2.0**20)),
        ("bytes", [3.0], ("bytes", 1.0)), ("s", [1e-5], ("µs", 1e-6)), ("s", [5.0, 1e-3], ("s", 1.0)),
        ("count", [5.0], ("", 1.0)), ("nats", [5.0], ("nats", 1.0)), ("bytes", [0.0], ("bytes", 1.0)),
    ],
)  # fmt: skip
def test_the_largest_value_chooses_the_unit(unit, values, shown):
    assert display_unit(unit, values) == shown


def test_latex_escapes_marks_symbols_and_powers():
    assert latex.escape("50% & $x_1$ #2") == r"50\% \& \$x\_\allowbreak{}1\$ \#2"
    assert latex.escape("1.235e-05 ± 2e+03") == r"$1.235\times10^{-5}$ $\pm$ $2\times10^{3}$"
    assert latex.escape("λ ≤ Σ² †") == r"$\lambda$ $\le$ $\Sigma$$^{2}$ \textdagger{}"
    assert latex.escape("日") == "[U+65E5]"
    assert latex.escape("dopri5-1e-3 at 0.5") == "dopri5-1e-3 at 0.5"
    assert latex.escape("fake.act 9.2") == r"fake.\allowbreak{}act 9.2"


def test_a_wide_table_is_turned():
    columns = (Column("variant"), *(Column(f"m{i}", "s", "right") for i in range(11)))
    wide = Table("t", "c", columns, (("a", *"0123456789x"), ("b", *"ABCDEFGHIJy")))
    turned = narrowed(wide)
    assert [c.header for c in turned.columns] == ["quantity", "a", "b"]
    assert turned.rows[0] == ("m0 (s)", "0", "A")
    assert turned.rows[-1] == ("m10 (s)", "x", "y")
    narrow = replace(wide, columns=columns[:10], rows=tuple(row[:10] for row in wide.rows))
    assert narrowed(narrow) is narrow


def test_drawing_leaves_the_callers_style_alone():
    import matplotlib

    before = matplotlib.rcParams["axes.grid"]
    figure, _ = style.new_figure()
    style.render(figure)
    assert matplotlib.rcParams["axes.grid"] == before


def test_an_order_without_a_number_is_shown_as_a_quotient():
    claim = Claim("a", "fake", "a beats b", "Table 1", "order", "recalled", relation="<")
    assert verdicts.documented(claim) == "< 1 (quotient) †"
