"""Tables of documented beside measured numbers, and the list of corrections to the sources."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from itertools import groupby

from bench.claim import VERDICTS, Claim
from bench.report.markdown import escape
from bench.report.rounding import with_interval
from bench.report.table import EMPTY, Column, Table, number
from bench.verdict import Verdict, to_json

COLUMNS = (
    Column("id", align="text", width=0.14),
    Column("where", align="text", width=0.12),
    Column("claim", align="text", width=0.18),
    Column("documented", align="text", width=0.14),
    Column("measured", align="text", width=0.14),
    Column("n", align="right"),
    Column("tier"),
    Column("verdict"),
    Column("reason", align="text", width=0.2),
)
CSV_HEADER = (
    "id", "paper", "where", "claim", "kind", "source", "documented",
    "measured", "low", "high", "unit", "n", "seeds", "tier",
    "protocol", "verdict", "experiment", "variant", "metric", "against", "reason",
)  # fmt: skip
NOTES = (
    "measured: mean [95 % Student-t interval] over n seeds, in the documented unit; where the claim compares "
    "two measurements it is their paired quotient, or difference where it says so.",
    "†: recalled, not checked against the text of the source.",
    "scaled-down: ran at a tier too small to settle the claim.",
)
CORRECTED = ("not reproduced", "impossible")


def paper_title(paper: str) -> str:
    """Return a paper's key as words."""
    return paper.replace("_", " ")


def table(verdicts: Sequence[Verdict], title: str) -> Table:
    """Return documented beside measured, one claim a row."""
    rows = tuple(
        (
            v.claim.id,
            v.claim.where,
            v.claim.text,
            documented(v.claim) or EMPTY,
            measured(v),
            str(v.measured.n) if v.measured else EMPTY,
            v.tier or EMPTY,
            v.verdict,
            v.reason,
        )
        for v in verdicts
    )
    return Table(title, f"{title}: documented and measured.", COLUMNS, rows, NOTES)


def documented(claim: Claim) -> str:
    """Return what the source says; a bare order as a quotient above or below 1, or a difference above or below 0."""
    if claim.kind == "order" and claim.value is None and not claim.shown:
        unit = claim.unit or ("(difference)" if claim.difference else "(quotient)")
        claim = dataclasses.replace(claim, value=claim.equality, unit=unit)
    return claim.documented


def measured(verdict: Verdict) -> str:
    """Return the measured mean and interval in the documented unit."""
    interval = verdict.measured
    if interval is None:
        return EMPTY
    tolerance = verdict.claim.tolerance_abs
    finest = math.floor(math.log10(tolerance)) if tolerance else None
    text, low, high = with_interval(interval.mean, interval.low, interval.high, finest)
    if low:
        text += f" [{low}, {high}]"
    else:
        text = number(interval.mean, _digits(verdict.claim))
    return f"{text} {verdict.claim.unit}".rstrip()


def _digits(claim: Claim) -> int:
    """Return how many digits show a deviation as small as the claim's tolerance; at least 4."""
    if not (claim.value and claim.tolerance_abs):
        return 4
    return max(4, 1 + math.ceil(math.log10(abs(claim.value) / claim.tolerance_abs)))


def csv_rows(verdicts: Iterable[Verdict]) -> Iterable[list[object]]:
    """Yield one row a claim, in full precision."""
    for v in verdicts:
        body = to_json(v) | {
            "n": v.measured.n if v.measured else None,
            "seeds": " ".join(map(repr, v.values)),
            "protocol": v.protocol,
            "variant": v.claim.variant,
            "metric": v.claim.metric,
            "against": " ".join(f"{k}={value}" for k, value in v.claim.against.items()),
        }
        yield [body[key] for key in CSV_HEADER]


def counts(verdicts: Sequence[Verdict]) -> Table:
    """Return how many claims of each paper got which verdict."""
    papers = sorted({v.claim.paper for v in verdicts})
    rows = [(paper_title(p), *_counts([v for v in verdicts if v.claim.paper == p])) for p in papers]
    columns = (
        Column("source"),
        *(Column(v, align="right") for v in VERDICTS),
        Column("claims", align="right"),
    )
    return Table("Verdicts", "Claims by verdict", columns, (*rows, ("all", *_counts(verdicts))))


def _counts(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    return (*(str(sum(v.verdict == name for v in verdicts)) for name in VERDICTS), str(len(verdicts)))


def corrections(verdicts: Sequence[Verdict]) -> str:
    """Return, as Markdown, every claim that did not hold: what the source says, what was measured, why."""
    wrong = sorted((v for v in verdicts if v.verdict in CORRECTED), key=lambda v: v.claim.paper)
    lines = ["# Corrections", "", "Claims of the sources that were not reproduced or can not hold."]
    if not wrong:
        lines += ["", "None."]
    for paper, group in groupby(wrong, key=lambda v: v.claim.paper):
        lines += ["", f"## {escape(paper_title(paper))}"]
        for verdict in group:
            lines += ["", *_correction(verdict)]
    return "\n".join(lines) + "\n"


def _correction(verdict: Verdict) -> list[str]:
    claim, interval = verdict.claim, verdict.measured
    says = f"{claim.text} ({documented(claim)})" if documented(claim) else claim.text
    found = "nothing: the claim is refuted by argument"
    if interval is not None:
        seeds = "1 seed" if interval.n == 1 else f"{interval.n} seeds"
        found = f"{measured(verdict)}, {seeds}, tier {verdict.tier}, {claim.experiment}/{claim.variant}"
    return [
        f"### {escape(claim.id)}",
        "",
        f"- Source ({escape(claim.where)}): {escape(says)}",
        f"- Measured: {escape(found)}",
        f"- Verdict: {verdict.verdict}",
        f"- Why: {escape(verdict.reason or 'no reason is known yet')}",
    ]
