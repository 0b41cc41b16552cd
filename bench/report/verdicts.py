"""Tables of documented beside measured numbers, and the list of corrections to the sources."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

from bench.claim import LABELS, VERDICTS, Claim
from bench.report.rounding import with_interval
from bench.report.table import EMPTY, Column, Table, number
from bench.verdict import DECISIVE, Verdict, to_json

COLUMNS = (
    Column("id", align="text", width=0.14),
    Column("where", align="text", width=0.12),
    Column("claim", align="text", width=0.18),
    Column("documented", align="text", width=0.14),
    Column("measured", align="text", width=0.14),
    Column("n", align="right"),
    Column("tier"),
    Column("verdict"),
    Column("evidence"),
    Column("reason", align="text", width=0.2),
)
CSV_HEADER = (
    "id", "paper", "where", "claim", "kind", "source", "documented",
    "measured", "low", "high", "unit", "n", "seeds", "tier",
    "protocol", "verdict", "label", "p", "discovered", "experiment", "variant", "metric", "against", "reason",
    "margin", "margin_reason",
)  # fmt: skip
NOTES = (
    "measured: over n seeds with its 95 % interval, in the documented unit: the mean and Student's t; where the claim "
    "compares two measurements their paired difference, where it says so, else the geometric mean of their paired "
    "quotients and Student's t of the logarithms (Fieller's interval where numbers are not positive, Welch's where "
    "seeds are not paired).",
    "reproduced, exceeded, not reproduced: the whole interval of 96 % stands for it, and for a value or an equality "
    "two one-sided tests at 4 %; inconclusive: it does not, or the records may not settle the claim, as the reason "
    "says. Where seeds were added to a claim that the first look left open, they are judged alone at 99 % (1 %): both "
    "looks together are wrong in at most 5 % of cases.",
    "evidence: own setting (the published data, network and length), transfer (other data, scale or device), derived "
    "(from the authors' code), by construction (a definition or closed form).",
    "§: does not hold at a false discovery rate of 5 % among the verdicts of its source.",
    "margin (in the CSV table, with its reason): the range that counts as equal to a documented value; stated in the "
    "claims before the runs.",
    "†: recalled, not checked against the text of the source.",
    "scaled-down: ran at a tier too small to settle the claim.",
)
UNDISCOVERED = " §"


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
            (v.label or EMPTY) + (UNDISCOVERED if v.discovered is False else ""),
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
            "margin": " ".join(f"{edge:g}" for edge in v.claim.margin) if v.claim.equates else "",
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


def evidence_counts(verdicts: Sequence[Verdict]) -> Table:
    """Return how many decisive verdicts rest on which kind of evidence, and how many hold as a family."""
    decided = [v for v in verdicts if v.verdict in DECISIVE]
    rows = tuple(
        (name, *(_of(decided, verdict, name) for verdict in DECISIVE)) for name in (*LABELS, "argument")
    )
    columns = (Column("evidence"), *(Column(v, align="right") for v in DECISIVE))
    notes = (
        "In brackets: those that hold at a false discovery rate of 5 % among the verdicts of their source.",
        "By construction, and by argument alone, are no evidence of a training.",
    )
    return Table("Decided by", "Decisive verdicts by the kind of evidence", columns, rows, notes)


def _of(decided: Sequence[Verdict], verdict: str, name: str) -> str:
    found = [v for v in decided if v.verdict == verdict and (v.label or "argument") == name]
    held = sum(v.discovered is True for v in found)
    return f"{len(found)} ({held})" if any(v.discovered is not None for v in found) else str(len(found))
