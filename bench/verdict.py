"""The verdict that records give on a claim."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from bench.claim import ORDERS, Claim
from bench.evidence import Evidence, Sample, alone, elsewhere, gather, label
from bench.experiment import TIERS
from bench.identity import is_current
from bench.inference import (
    LOOKS,
    Equivalence,
    Estimate,
    Side,
    discoveries,
    equivalence,
    fieller_ratio,
    over_looks,
    p_beyond,
    p_within,
    side,
    welch_difference,
)
from bench.length import LEAST, least_tier
from bench.metrics.catalogue import metric as catalogued
from bench.metrics.catalogue import split_key
from bench.record import Record
from bench.stats import Interval, exponential, mean_interval, paired_ratio

ON_LIMIT, SEEDS_MISSING, SHARED, MIXED, UNCHECKED, LOST, UNBOUNDED = (
    "limit",
    "seeds",
    "shared",
    "mixed",
    "check",
    "lost",
    "denominator",
)
"""Why a verdict is inconclusive: the interval includes the limit or the edge of the margin; declared seeds are missing;
times are from a shared machine; numbers are not of one kind; the flow is not seen to invert; lost seeds may tell
otherwise; a denominator may be zero."""
DECISIVE = ("reproduced", "exceeded", "not reproduced")
"""Verdicts that the whole interval stands for."""


@dataclass(frozen=True)
class Verdict:
    """What the records say of a claim.

    Args:
        claim: the claim.
        verdict: one of `bench.claim.VERDICTS`.
        measured: the interval in the documented unit.
        values: each seed's number; empty where the seeds of the two sides are not paired.
        tier: of the records.
        protocol: how the numbers were measured.
        reason: why the verdict is what it is.
        cause: why it is inconclusive, in one word of those above; empty where it is not.
        level: of the interval that decides, by the look at the claim.
        label: what kind of evidence it is: one of `bench.claim.LABELS`.
        p: p-value of the test behind a decisive or inconclusive verdict, over both looks (`over_looks`).
        discovered: whether a decisive verdict also holds at a false discovery rate of 5 % among those of its paper.
    """

    claim: Claim
    verdict: str
    measured: Interval | None = None
    values: tuple[float, ...] = ()
    tier: str = ""
    protocol: str = ""
    reason: str = ""
    label: str = ""
    p: float | None = None
    discovered: bool | None = None
    cause: str = ""
    level: float = LOOKS[0]


def current(records: Iterable[Record]) -> list[Record]:
    """Return the records of declared runs, nothing overridden, that are current and above tier smoke."""
    return [
        r
        for r in records
        if r.identity.tier != "smoke" and not r.identity.overrides and is_current(r.identity)
    ]


def judge_all(claims: Sequence[Claim], records: Iterable[Record]) -> list[Verdict]:
    """Return the verdict on every claim, in order."""
    by_variant: dict[tuple[str, str], list[Record]] = {}
    for record in current(records):
        by_variant.setdefault((record.identity.experiment, record.identity.variant), []).append(record)
    return with_discoveries([judge(claim, by_variant) for claim in claims])


def with_discoveries(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return verdicts with whether each decisive one holds at the false discovery rate of its family, its paper."""
    marked = list(verdicts)
    for paper in {v.claim.paper for v in verdicts}:
        family = [(i, v.p) for i, v in enumerate(verdicts) if v.claim.paper == paper and v.p is not None]
        for (i, _), found in zip(family, discoveries([p for _, p in family]), strict=True):
            if marked[i].verdict in DECISIVE:
                marked[i] = dataclasses.replace(marked[i], discovered=found)
    return marked


def judge(claim: Claim, by_variant: Mapping[tuple[str, str], Sequence[Record]]) -> Verdict:
    """Return the verdict on one claim from the current records, grouped by (experiment, variant).

    The highest tier with numbers is used. Below the claim's own tier, or the least one that tells of the quality of a
    trained network (`bench.length`), the verdict is `scaled-down`, whatever the numbers are; it is `inconclusive`
    where the records may not settle it, or the interval includes the limit. Only then is there a second look, at added
    seeds alone, at a stricter level; see `bench.inference.LOOKS`.
    """
    if claim.verdict:
        return Verdict(claim, claim.verdict, reason=claim.note, label=claim.label)
    if not claim.experiment:
        return Verdict(claim, "not run", reason=claim.not_run)
    first = gather(claim, by_variant)
    if first is None:
        return Verdict(claim, "not run", reason=_why_nothing(claim, by_variant))
    found = _looked(claim, first)
    second = gather(claim, by_variant, look=1) if found.cause == ON_LIMIT else None
    return found if second is None or second.tier != first.tier else _looked(claim, second)


def _looked(claim: Claim, evidence: Evidence) -> Verdict:
    """Return the verdict of one look."""
    protocol, tier = ", ".join(evidence.side.protocols), evidence.tier
    if evidence.mixed:
        reason = _joined(evidence.mixed, claim.note)
        return Verdict(claim, "inconclusive", tier=tier, protocol=protocol, reason=reason, cause=MIXED)
    try:
        estimate, values = quantity(claim, evidence)
        settled = _settle(claim, evidence, estimate)
    except ValueError as error:  # a quotient whose denominator may be zero
        reason = _joined(str(error), claim.note)
        return Verdict(claim, "inconclusive", tier=tier, reason=reason, cause=UNBOUNDED)
    again = f"second look, at {len(evidence.side.records)} added seeds" if evidence.level != LOOKS[0] else ""
    return Verdict(
        claim,
        settled.verdict,
        estimate(0.95),
        values,
        tier,
        protocol,
        _joined(settled.reason, again, lost(evidence), elsewhere(claim, evidence), claim.note),
        label(claim, evidence),
        None if settled.p is None else over_looks(settled.p, evidence.level),
        cause=settled.cause,
        level=evidence.level,
    )


def _why_nothing(claim: Claim, by_variant: Mapping[tuple[str, str], Sequence[Record]]) -> str:
    failed = [r for r in by_variant.get((claim.experiment, claim.variant), ()) if r.status != "done"]
    reason = f"every run ended as {failed[0].status}: {failed[0].message}" if failed else claim.not_run
    return reason or "no record that measures it yet"


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def quantity(claim: Claim, evidence: Evidence) -> tuple[Estimate, tuple[float, ...]]:
    """Return the interval, as a function of its level, of what the claim is about, and each seed's number.

    A measured number, or a difference: Student's t. A quotient of positive numbers: the geometric mean, so that
    a/b and b/a say the same; of others Fieller's. Seeds that share no random streams: Welch's.

    Raises:
        ValueError: no seed on both sides, or a denominator that may be zero.
    """
    if evidence.other is None:
        return _scaled(mean_interval, claim.scale, list(evidence.side.values.values()))
    if not evidence.paired:
        return _unpaired(claim, evidence.side, evidence.other), ()
    seeds = [seed for seed in evidence.side.values if seed in evidence.other.values]
    if not seeds:
        raise ValueError("no seed gave a number on both sides")
    a, b = ([sample.values[seed] for seed in seeds] for sample in (evidence.side, evidence.other))
    if claim.difference:
        return _scaled(mean_interval, claim.scale, [x - y for x, y in zip(a, b, strict=True)])
    quotient = paired_ratio if min(*a, *b) > 0 else fieller_ratio
    quotients = tuple(math.nan if y == 0 else claim.scale * x / y for x, y in zip(a, b, strict=True))
    return _scaled(quotient, claim.scale, a, b)[0], quotients


def is_quotient(claim: Claim) -> bool:
    """Whether a claim compares by a quotient."""
    return bool(claim.against) and not claim.difference


def _scaled(estimator: Any, scale: float, *samples: list[float]) -> tuple[Estimate, tuple[float, ...]]:
    """Return an estimator's interval of some samples in the documented unit, and the first sample in it."""

    def estimate(level: float) -> Interval:
        return scaled(estimator(*samples, level), scale)

    return estimate, tuple(scale * x for x in samples[0])


def scaled(interval: Interval, scale: float) -> Interval:
    """Return an interval times a number."""
    low, high = (None if x is None else x * scale for x in (interval.low, interval.high))
    if scale < 0:
        low, high = high, low
    return Interval(interval.mean * scale, low, high, interval.n)


def _unpaired(claim: Claim, one: Sample, other: Sample) -> Estimate:
    a, b = list(one.values.values()), list(other.values.values())
    if claim.difference:
        return _scaled(welch_difference, claim.scale, a, b)[0]
    if min(*a, *b) <= 0:
        raise ValueError("a quotient of independent numbers that are not all positive has no interval here")
    logs = partial(welch_difference, [math.log(x) for x in a], [math.log(x) for x in b])
    return lambda level: scaled(exponential(logs(level)), claim.scale)


class Settled(NamedTuple):
    """Verdict, reason, p-value of the look, and why it is inconclusive."""

    verdict: str
    reason: str = ""
    p: float | None = None
    cause: str = ""


def _settle(claim: Claim, evidence: Evidence, estimate: Estimate) -> Settled:
    needed = least_tier(claim)
    if TIERS.index(evidence.tier) < TIERS.index(needed):
        small = f"ran at tier {evidence.tier}; the claim needs {needed}"
        if needed != claim.tier:
            small += f", as quality is judged from {LEAST:.0%} of the published iterations on"
        return Settled("scaled-down", _joined(small, evidence.shared))
    if evidence.shared:
        reason = f"{evidence.shared}; repeat it alone: {alone(claim, evidence)}"
        return Settled("inconclusive", reason, cause=SHARED)
    if evidence.missing:
        return Settled("inconclusive", evidence.missing, cause=SEEDS_MISSING)
    if evidence.refusal:
        return Settled("inconclusive", evidence.refusal, cause=UNCHECKED)
    interval = estimate(evidence.level)
    if interval.low is None:
        if not claim.deterministic:
            return Settled("inconclusive", "one seed gives no interval", cause=LOST)
        estimate = partial(_exact, interval.mean)
    found, p = (_ordered if claim.relation in ORDERS else _equal)(claim, estimate, evidence.level)
    if found is not None and found in _pushed(claim, evidence):
        return Settled("inconclusive", "the seeds that were lost may tell otherwise", p, LOST)
    return _named(claim, found, p, evidence.level)


def _exact(value: float, level: float) -> Interval:
    """Return a number without chance as an interval of no width."""
    return Interval(value, value, value, 1)


def _ordered(claim: Claim, estimate: Estimate, level: float) -> tuple[str | None, float]:
    """Return on which side of the limit the quantity is, None where that is open, and the p-value."""
    limit, interval = claim.limit, estimate(level)
    found = side(interval, limit)
    if (
        interval.low == interval.high == limit
    ):  # a number without chance that meets the limit: `<` does not hold
        return {"<=": "below", ">=": "above", "<": "above", ">": "below"}[claim.relation], 0.0
    return None if found is Side.ASTRIDE else found.value, p_beyond(estimate, limit)


def _equal(claim: Claim, estimate: Estimate, level: float) -> tuple[str | None, float]:
    """Return whether the quantity is equal within the claim's margin, below or above it, None where that is open.

    The p-value is that of the best of three tests, of being within, below and above, of which the last two exclude
    each other; hence it is doubled.
    """
    low, high = claim.margin
    found = equivalence(estimate, low, high, level)
    tests = (
        p_within(estimate, low, high),
        p_beyond(estimate, low, Side.BELOW),
        p_beyond(estimate, high, Side.ABOVE),
    )
    p = min(1.0, 2 * min(tests))
    names = {Equivalence.EQUAL: "equal", Equivalence.LOWER: "below", Equivalence.HIGHER: "above"}
    return names.get(found), p


def _named(claim: Claim, found: str | None, p: float, level: float) -> Settled:
    """Return the verdict, given where the quantity is of the limit or margin."""
    if found is None:
        limit = "limit" if claim.relation in ORDERS else "edge of the margin"
        reason = f"the {100 * level:g} % interval includes the {limit}"
        return Settled("inconclusive", reason, p, ON_LIMIT)
    wanted = {"<": "below", "<=": "below", ">": "above", ">=": "above"}.get(claim.relation, "equal")
    if found == wanted:
        return Settled("reproduced", "", p)
    better = {"lower": "below", "higher": "above"}.get(_direction(claim))
    exceeded = claim.kind == "value" and found == better
    return Settled("exceeded" if exceeded else "not reproduced", "", p)


def _direction(claim: Claim) -> str:
    return catalogued(split_key(claim.metric)[0]).direction


def _pushed(claim: Claim, evidence: Evidence) -> set[str]:
    """Return what can not be said, since lost seeds count against their side: each may be worse than any number."""
    sides = [(evidence.side, 1)] + ([(evidence.other, -1)] if evidence.other else [])
    worse = {"lower": 1, "higher": -1}.get(_direction(claim))
    pushed: set[str] = set()
    for each, sign in sides:
        if each.lost:
            shift = None if worse is None else worse * sign
            pushed |= {1: {"below"}, -1: {"above"}, None: {"below", "above"}}[shift] | {"equal"}
    return pushed


def lost(evidence: Evidence) -> str:
    """Return how many seeds of each side gave no number, and how their runs ended; empty where all did."""
    parts = []
    for each in (evidence.side, evidence.other):
        if each is not None and each.lost:
            records = [r for r in each.records if r.identity.seed in each.lost]
            ends = sorted({r.status if r.status != "done" else "no number" for r in records})
            name, n = records[0].identity.variant, len(each.records)
            parts.append(f"{name}: {len(records)} of {n} seeds lost ({', '.join(ends)})")
    return "; ".join(parts)


def to_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON-able data: the stable output of `cnf-bench claims --json`."""
    claim, interval = verdict.claim, verdict.measured
    return {
        "id": claim.id,
        "paper": claim.paper,
        "where": claim.where,
        "claim": claim.text,
        "kind": claim.kind,
        "source": claim.source,
        "documented": claim.documented,
        "verdict": verdict.verdict,
        "label": verdict.label,
        "measured": None if interval is None else interval.mean,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "n": None if interval is None else interval.n,
        "seeds": list(verdict.values),
        "p": verdict.p,
        "discovered": verdict.discovered,
        "unit": claim.unit,
        "margin": list(claim.margin) if claim.equates else None,
        "margin_reason": claim.margin_reason,
        "tier": verdict.tier,
        "experiment": claim.experiment,
        "reason": verdict.reason,
    }
