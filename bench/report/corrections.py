"""The list of claims that do not hold: what the source says, what was measured, and what would change our mind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from bench.claim import ORDERS, Claim
from bench.inference import smallest_effect
from bench.power import seen
from bench.report.markdown import escape
from bench.report.table import number
from bench.report.verdicts import documented, measured, paper_title
from bench.verdict import Verdict, is_quotient

CORRECTED = ("not reproduced", "impossible")
INTRODUCTION = (
    "Claims of the sources that do not hold: the whole interval (of 96 %, of 99 % for seeds added later and judged "
    "alone) lies on the other side of the limit, or there is a proof. What is merely open is `inconclusive` and not "
    "listed, nor is a printed number that was measured at another setting than the source's: that refutes no number. "
    "The smallest effect is the one that so many seeds see in 8 of 10 cases, given their scatter."
)


def document(verdicts: Sequence[Verdict]) -> str:
    """Return, as Markdown, every claim that decisively does not hold."""
    wrong = sorted(
        (v for v in verdicts if v.verdict in CORRECTED and _stands(v)), key=lambda v: v.claim.paper
    )
    lines = ["# Corrections", "", INTRODUCTION]
    if not wrong:
        lines += ["", "None."]
    for paper, group in groupby(wrong, key=lambda v: v.claim.paper):
        lines += ["", f"## {escape(paper_title(paper))}"]
        for verdict in group:
            lines += ["", *_entry(verdict)]
    return "\n".join(lines) + "\n"


def _stands(verdict: Verdict) -> bool:
    """Whether a claim that does not hold is a correction: not a number printed for another setting than the runs'."""
    return not (verdict.claim.equates and verdict.label == "transfer")


def _limit(claim: Claim) -> str:
    """Return what the measured interval was held against."""
    if claim.relation in ORDERS:
        return f"{claim.relation} {number(claim.limit)} {claim.unit}".rstrip()
    low, high = map(number, claim.margin)
    return f"{low} to {high} {claim.unit}".rstrip() + f" counts as equal ({claim.margin_reason})"


def _entry(verdict: Verdict) -> list[str]:
    claim = verdict.claim
    says = f"{claim.text} ({documented(claim)})" if documented(claim) else claim.text
    lines = [f"### {escape(claim.id)}", "", f"- Source ({escape(claim.where)}): {escape(says)}"]
    if verdict.measured is None:
        lines += ["- Measured: nothing; an argument settles it", f"- Verdict: {verdict.verdict}"]
    else:
        lines += [
            f"- Measured: {escape(_found(verdict))}",
            f"- Claimed: {escape(_limit(claim))}",
            f"- Verdict: {_firm(verdict)}",
        ]
        lines += [f"- Smallest effect seen: {escape(visible(verdict))}"]
    lines += [f"- Why: {escape(verdict.reason or 'no reason is known yet')}"]
    return [*lines, f"- What would change it: {escape(_mind(verdict))}"]


def _found(verdict: Verdict) -> str:
    claim, interval = verdict.claim, verdict.measured
    assert interval is not None
    seeds = "1 seed" if interval.n == 1 else f"{interval.n} seeds"
    return f"{measured(verdict)}, {seeds}, tier {verdict.tier} ({verdict.label}), {claim.experiment}/{claim.variant}"


def _firm(verdict: Verdict) -> str:
    if verdict.discovered is False:
        return (
            f"{verdict.verdict}, but not at a false discovery rate of 5 % among the verdicts of this source"
        )
    return verdict.verdict


def visible(verdict: Verdict) -> str:
    """Return the smallest effect that the seeds would have shown with a chance of 0.8, given their scatter.

    That of a quotient is a factor, as it is compared on the scale of logarithms.
    """
    claim, interval = verdict.claim, verdict.measured
    found = None if interval is None else seen(claim, interval)
    if interval is None or found is None:
        return "any: the number involves no chance"
    effect = smallest_effect(interval.n, level=verdict.level) * found.deviation
    if is_quotient(claim) and (interval.low or 0.0) > 0:
        return f"a factor of {number(math.exp(effect))}"
    return f"{number(effect, 2)} {claim.unit}".rstrip()


def _mind(verdict: Verdict) -> str:
    claim = verdict.claim
    if verdict.measured is None:
        return "an error in the argument"
    elsewhere = {
        "transfer": "; or the claim's own setting, which these runs are not",
        "derived": "; or a reading of the authors' code that gives another number",
    }.get(verdict.label, "")
    runs = f"{verdict.measured.n} or more seeds of {claim.experiment}/{claim.variant}"
    return f"{runs} whose interval meets the limit{elsewhere}"
