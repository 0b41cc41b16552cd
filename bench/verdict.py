"""The verdict that records give on a claim."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.claim import Claim
from bench.experiment import TIERS
from bench.identity import is_current
from bench.metrics.catalogue import is_time, split_key
from bench.metrics.catalogue import metric as catalogued
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
    the numbers are. Where they settle nothing it is `inconclusive`: numbers of two protocols, which are not averaged,
    and, where the claim is about time, times of a run that shared the machine.
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


class Pair(NamedTuple):
    """A seed's record and the one that it is compared with; without any, the record once more and nothing."""

    record: Record
    other: Record
    value: float
    base: float


def _pairs(claim: Claim, records: Sequence[Record], others: Sequence[Record]) -> list[Pair]:
    """Return every seed that has both numbers, in seed order; the second is 1 where nothing is compared."""
    by_seed = {r.identity.seed: r for r in others}
    pairs = []
    for record in sorted(records, key=lambda r: r.identity.seed):
        value = record.value(claim.metric)
        partner = by_seed.get(record.identity.seed) if claim.against else record
        base = partner.value(_compared(claim)) if partner else None
        if not claim.against:
            base = 1.0
        if value is None or base is None or partner is None or record.status != "done":
            continue
        if base != 0 or claim.difference:
            pairs.append(Pair(record, partner, value, base))
    return pairs


def _compared(claim: Claim) -> str:
    """Return the key of the metric on the other side, the same one where nothing is compared."""
    return claim.against.get("metric", claim.metric)


def _settle(claim: Claim, tier: str, pairs: Sequence[Pair], records: Sequence[Record]) -> Verdict:
    mine = sorted({pair.record.metrics[claim.metric].protocol for pair in pairs})
    other = sorted({pair.other.metrics[_compared(claim)].protocol for pair in pairs if claim.against})
    protocol, mixed = ", ".join(mine), _mixed(claim, mine, other)
    if mixed:
        return Verdict(claim, "inconclusive", tier=tier, protocol=protocol, reason=_joined(mixed, claim.note))
    values = tuple((p.value - p.base if claim.difference else p.value / p.base) * claim.scale for p in pairs)
    interval = mean_interval(values)
    verdict, reason = _compare(claim, interval)
    if claim.relation in ("<", ">", "<=", ">=") and len(values) == 1:
        verdict, reason = "scaled-down", "one seed gives no interval"
    lost = [r.status for r in records if r.status != "done"]
    if lost:
        reason = _joined(reason, f"{len(lost)} of {len(records)} runs ended {', '.join(lost)}")
    too_small = TIERS.index(tier) < TIERS.index(claim.tier)
    if too_small:
        verdict, reason = "scaled-down", f"ran at tier {tier}; the claim needs {claim.tier}"
    beside = _beside_others(claim, pairs)
    if beside:
        mend = "" if too_small else f"repeat it alone: {_alone(claim, tier, pairs)}"
        verdict, reason = "scaled-down" if too_small else "inconclusive", _joined(reason, beside, mend)
    return Verdict(claim, verdict, interval, values, tier, protocol, _joined(reason, claim.note))


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _mixed(claim: Claim, mine: Sequence[str], other: Sequence[str]) -> str:
    """Return why the numbers are not of one kind, empty where they are: two protocols, or compiled beside eager."""
    for protocols in (mine, other):
        if len(protocols) > 1:
            return f"its seeds were measured by different protocols: {' and '.join(protocols)}"
    compiled = {"compiled" in protocol.split("/") for protocol in (*mine, *other)}
    return f"compiled is compared with eager: {' and '.join((*mine, *other))}" if len(compiled) > 1 else ""


def _beside_others(claim: Claim, pairs: Sequence[Pair]) -> str:
    """Return beside what the times of a claim about time were measured, empty where each run was alone."""
    if not (is_time(claim.metric) or is_time(_compared(claim))):
        return ""
    found = {r.identity.seed: r.shared for pair in pairs for r in (pair.record, pair.other) if r.shared}
    if not found:
        return ""
    seeds, reasons = ", ".join(map(str, found)), ", ".join(sorted(set(found.values())))
    return f"timed on a shared machine ({'seed' if len(found) == 1 else 'seeds'} {seeds}: {reasons})"


def _alone(claim: Claim, tier: str, pairs: Sequence[Pair]) -> str:
    """Return the command that repeats the runs of a claim, one at a time."""
    variants = dict.fromkeys((claim.variant, claim.against.get("variant", claim.variant)))
    runs = " ".join(shlex.quote(f"{claim.experiment}/{variant}") for variant in variants)
    seeds = " ".join(f"--seed {pair.record.identity.seed}" for pair in pairs)
    device = str(pairs[0].record.environment.get("device", "cpu"))
    where = "" if device == "cpu" else f" --device {device}"
    return f"cnf-bench run {runs} --tier {tier} {seeds}{where} --jobs 1 --force"


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
