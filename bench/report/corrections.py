"""The list of claims that do not hold: what the source says, what was measured, and what would change our mind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from bench.inference import smallest_effect
from bench.report.markdown import escape
from bench.report.table import number
from bench.report.verdicts import documented, measured, paper_title
from bench.stats import student_t
from bench.verdict import Verdict, is_quotient

CORRECTED = ("not reproduced", "impossible")
INTRODUCTION = (
    "Claims of the sources that do not hold: the whole 95 % interval lies on the other side of the limit, or there "
    "is a proof. What is merely open is `inconclusive` and not listed. The smallest effect is the one that so many "
    "seeds see in 8 of 10 cases, given their scatter."
)


def document(verdicts: Sequence[Verdict]) -> str:
    """Return, as Markdown, every claim that decisively does not hold."""
    wrong = sorted((v for v in verdicts if v.verdict in CORRECTED), key=lambda v: v.claim.paper)
    lines = ["# Corrections", "", INTRODUCTION]
    if not wrong:
        lines += ["", "None."]
    for paper, group in groupby(wrong, key=lambda v: v.claim.paper):
        lines += ["", f"## {escape(paper_title(paper))}"]
        for verdict in group:
            lines += ["", *_entry(verdict)]
    return "\n".join(lines) + "\n"


def _entry(verdict: Verdict) -> list[str]:
    claim = verdict.claim
    says = f"{claim.text} ({documented(claim)})" if documented(claim) else claim.text
    lines = [f"### {escape(claim.id)}", "", f"- Source ({escape(claim.where)}): {escape(says)}"]
    if verdict.measured is None:
        lines += ["- Measured: nothing; an argument settles it", f"- Verdict: {verdict.verdict}"]
    else:
        lines += [f"- Measured: {escape(_found(verdict))}", f"- Verdict: {_firm(verdict)}"]
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

    The scatter s of one seed follows from the interval, whose half-width is t s / sqrt(n); that of a quotient on the
    scale of logarithms, so that the effect is a factor.
    """
    interval = verdict.measured
    if interval is None or interval.low is None or interval.high is None:
        return "any: the number involves no chance"
    factor = is_quotient(verdict.claim) and interval.low > 0
    half = math.log(interval.high / interval.low) / 2 if factor else (interval.high - interval.low) / 2
    scatter = half * math.sqrt(interval.n) / student_t(interval.n - 1, 0.95)
    effect = smallest_effect(interval.n) * scatter
    if factor:
        return f"a factor of {number(math.exp(effect))}"
    return f"{number(effect, 2)} {verdict.claim.unit}".rstrip()


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
