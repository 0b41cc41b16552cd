"""Margins of equality have reasons, stated with the claims."""

import csv
import io

import pytest
from test_campaign import claim

from bench.claim import load_claims, read_claims
from bench.errors import UserError
from bench.margin import OF_THE_SOURCE, Margin, of_the_source, with_reasons
from bench.report import verdicts
from bench.report.table import csv_text
from bench.verdict import Verdict, to_json

TENTH = Margin(("max_error",), "a tenth", tolerance=0.1)
HALF = Margin(("nfe", "max_error"), "a half", tolerance_abs=0.5)


def reasons(*claims, margins=(TENTH, HALF)):
    return [c.margin_reason for c in with_reasons(claims, margins, "f")]


def test_a_claim_gets_its_own_reason_that_of_its_metric_or_that_of_the_source():
    shared = [claim(metric="max_error[a]"), claim(metric="nfe", tolerance_abs=0.5)]
    assert reasons(*shared) == ["a tenth", "a half"]
    own = claim(margin_reason="mine")
    printed = claim(spread="± 0.2", tolerance_abs=0.6)
    assert reasons(*shared, own, printed)[2:] == ["mine", OF_THE_SOURCE]
    assert not of_the_source(claim(spread="± 0.2", tolerance_abs=0.5))
    assert not of_the_source(claim(spread="± 0.2"))
    assert of_the_source(claim(spread="± 1.5e-3", tolerance_abs=0.0045))


def test_what_equates_nothing_needs_no_reason():
    order = claim(kind="order", relation="<", against={"variant": "double"})
    elsewhere = claim(experiment="", variant="", metric="", not_run="dear")
    stated = claim(verdict="impossible", note="n", tolerance=0.7)
    assert reasons(order, elsewhere, stated, margins=()) == ["", "", ""]
    assert [c.equates for c in (order, elsewhere, stated, claim(), claim(kind="bound", relation="~"))] == [
        False, False, False, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [{"tolerance": 0.2}, {"tolerance_abs": 0.1}, {"metric": "nfe"}, {"spread": "± 0.2", "tolerance": 0.3}],
)
def test_a_margin_without_a_reason_is_refused(changes):
    with pytest.raises(UserError, match=r"f: claim 'c' counts a deviation of .* as none without a reason"):
        with_reasons([claim(**changes)], [TENTH], "f")


def test_a_margin_of_no_claim_is_refused():
    with pytest.raises(UserError, match="margin number 2, for nfe, max_error, is that of no claim"):
        with_reasons([claim()], [TENTH, HALF], "f")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("metrics = ['nope']\ntolerance = 0.1\nreason = 'r'", "no metric 'nope'"),
        ("metrics = 'nfe'\ntolerance = 0.1\nreason = 'r'", "metrics must be a list"),
        ("metrics = ['nfe']\ntolerance = 0.1", "reason must be a text"),
        ("metrics = ['nfe']\ntolerance = 0.1\nreason = ' '", "reason must be a text"),
        ("metrics = ['nfe']\nreason = 'r'", "one of the two"),
        ("metrics = ['nfe']\ntolerance = 0.1\ntolerance_abs = 0.1\nreason = 'r'", "one of the two"),
        ("metrics = ['nfe']\ntolerance = -0.1\nreason = 'r'", "not negative"),
        ("metrics = ['nfe']\ntolerance = inf\nreason = 'r'", "not negative"),
        ("metrics = ['nfe']\ntolerance = true\nreason = 'r'", "not negative"),
        ("metrics = ['nfe']\nwidth = 1", "unknown key 'width'"),
    ],
)
def test_a_malformed_margin_is_one_line(fake_paper, tmp_path, table, message):
    path = tmp_path / "claims.toml"
    path.write_text(f"[[margin]]\n{table}\n")
    with pytest.raises(UserError, match=message) as told:
        read_claims(path, "fake")
    assert "margin number 1" in str(told.value)
    path.write_text("margin = 3\n")
    with pytest.raises(UserError, match="must be a list of"):
        read_claims(path, "fake")


def test_every_margin_in_the_claims_has_a_reason_that_is_shown():
    equated = [c for c in load_claims() if c.equates]
    assert len(equated) > 200
    assert all(len(c.margin_reason.split()) > 4 for c in equated)
    (found,) = csv.DictReader(io.StringIO(csv_text(verdicts.CSV_HEADER, verdicts.csv_rows([Verdict(
        claim(margin_reason="because"), "not run")]))))  # fmt: skip
    assert (found["margin"], found["margin_reason"]) == ("1.8 2.2", "because")
    assert to_json(Verdict(claim(), "not run"))["margin"] == pytest.approx([1.8, 2.2])
    assert to_json(Verdict(claim(kind="bound", relation="<"), "not run"))["margin"] is None
