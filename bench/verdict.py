"""The verdict that records give on a claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.claim import Claim
from bench.experiment import TIERS
from bench.identity import is_current
from bench.metrics.catalogue import metric as catalogued
from bench.metrics.catalogue import split_key
from bench.record import Record
from bench.stats import Interval, mean_interval


@dataclass(frozen=True)
class Verdict:
    """What the records say of a claim: the verdict, the measured interval in the documented unit, and why."""

    claim: Claim
    verdict: str
    measured: Interval | None = None
    values: tuple[float, ...] = ()
    tier: str = ""
    protocol: str = ""
    reason: str = ""


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
    return [judge(claim, by_variant) for claim in claims]


def judge(claim: Claim, by_variant: Mapping[tuple[str, str], Sequence[Record]]) -> Verdict:
    """Return the verdict on one claim from the current records, grouped by (experiment, variant).

    The highest tier with records is used. Below the claim's own tier the verdict is `scaled-down`, whatever
    the numbers are.
    """
    if claim.verdict:
        return Verdict(claim, claim.verdict, reason=claim.note)
    if not claim.experiment:
        return Verdict(claim, "not run", reason=claim.not_run)
    other = claim.against.get("variant", claim.variant)
    records = by_variant.get((claim.experiment, claim.variant), [])
    others = by_variant.get((claim.experiment, other), [])
    for tier in reversed(TIERS):
        of_tier = [[r for r in side if r.identity.tier == tier] for side in (records, others)]
        found = [(_pairs(claim, *(_seeded(side, of) for side in of_tier)), of) for of in SEEDINGS]
        pairs, seeding = max(found, key=lambda each: len(each[0]))
        if pairs:
            return _settle(claim, tier, pairs, _seeded(of_tier[0], seeding))
    failed = [r for r in records if r.status != "done"]
    reason = f"every run ended as {failed[0].status}: {failed[0].message}" if failed else claim.not_run
    return Verdict(claim, "not run", reason=reason or "no record that measures it yet")


SEEDINGS = ("task", "schema")
"""What tells today's random streams from those of records of schema 1; numbers of both are never put together."""


def _seeded(records: Sequence[Record], seeding: str) -> list[Record]:
    """Return the records whose random streams are of one derivation; one without any counts as today's."""
    return [r for r in records if ("schema" if "schema" in r.identity.seeded_by else "task") == seeding]


def _pairs(claim: Claim, records: Sequence[Record], others: Sequence[Record]) -> list[tuple[float, float]]:
    """(measured, compared with) of every seed that has both, in seed order; 1 where nothing is compared."""
    by_seed = {r.identity.seed: r for r in others}
    pairs = []
    for record in sorted(records, key=lambda r: r.identity.seed):
        value = record.value(claim.metric)
        partner = by_seed.get(record.identity.seed)
        base = partner.value(claim.against.get("metric", claim.metric)) if partner else None
        if not claim.against:
            base = 1.0
        if value is None or base is None or record.status != "done":
            continue
        if base != 0 or claim.difference:
            pairs.append((value, base))
    return pairs


def _settle(claim: Claim, tier: str, pairs: list[tuple[float, float]], records: Sequence[Record]) -> Verdict:
    values = tuple((a - b if claim.difference else a / b) * claim.scale for a, b in pairs)
    interval = mean_interval(values)
    protocols = sorted({r.metrics[claim.metric].protocol for r in records if claim.metric in r.metrics})
    verdict, reason = _compare(claim, interval)
    if claim.relation in ("<", ">", "<=", ">=") and len(values) == 1:
        verdict, reason = "scaled-down", "one seed gives no interval"
    lost = [r.status for r in records if r.status != "done"]
    if lost:
        reason = "; ".join(
            filter(None, (reason, f"{len(lost)} of {len(records)} runs ended {', '.join(lost)}"))
        )
    if TIERS.index(tier) < TIERS.index(claim.tier):
        verdict, reason = "scaled-down", f"ran at tier {tier}; the claim needs {claim.tier}"
    reason = "; ".join(part for part in (reason, claim.note) if part)
    return Verdict(claim, verdict, interval, values, tier, ", ".join(protocols), reason)


def _compare(claim: Claim, interval: Interval) -> tuple[str, str]:
    low = interval.mean if interval.low is None else interval.low
    high = interval.mean if interval.high is None else interval.high
    if claim.relation in ("<", ">", "<=", ">="):
        limit = claim.equality if claim.value is None else claim.value
        below = claim.relation.startswith("<")
        holds = {"<": high < limit, "<=": high <= limit, ">": low > limit, ">=": low >= limit}[claim.relation]
        opposite = low > limit if below else high < limit
        if holds:
            return "reproduced", ""
        return "not reproduced", "" if opposite else "the 95 % interval includes the limit"
    target = claim.equality if claim.value is None else claim.value
    allowed = claim.tolerance * abs(target) if claim.tolerance_abs is None else claim.tolerance_abs
    if abs(interval.mean - target) <= allowed:
        return "reproduced", ""
    if _better(claim, interval.mean, target):
        return "exceeded", ""
    return "not reproduced", ""


def _better(claim: Claim, measured: float, documented: float) -> bool:
    direction = catalogued(split_key(claim.metric)[0]).direction
    if claim.kind != "value" or direction == "none":
        return False
    return measured < documented if direction == "lower" else measured > documented


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
        "measured": None if interval is None else interval.mean,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "seeds": list(verdict.values),
        "unit": claim.unit,
        "tier": verdict.tier,
        "experiment": claim.experiment,
        "reason": verdict.reason,
    }
