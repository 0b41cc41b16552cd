"""Which records may settle a claim, and the numbers they give: one tier, one way of measuring, no seed lost unseen."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.claim import Claim
from bench.experiment import TIERS
from bench.identity import Identity
from bench.inference import LOOKS
from bench.metrics.catalogue import is_time, split_key
from bench.metrics.catalogue import metric as catalogued
from bench.record import Record
from bench.registry import registry

SEEDS_OF_SCHEMA_1 = 3
"""Declared number of seeds of the runs that drew from the random streams of schema 1."""


@dataclass(frozen=True)
class Sample:
    """What the seeds of one side of a claim give.

    Args:
        values: seed -> number.
        lost: the seeds that gave none: a failed run, a spent budget, a goal that was not reached.
        protocols: how the numbers were measured; one, or they can not be put together.
        records: the records, lost ones too.
    """

    values: Mapping[int, float]
    lost: tuple[int, ...]
    protocols: tuple[str, ...]
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Evidence:
    """What the records of one tier say of a claim.

    Args:
        tier: the highest tier with numbers.
        side: of the claim's variant and metric.
        other: of what it is compared with; None where it is compared with a number.
        paired: whether the seeds of both sides share their random streams.
        mixed: why the numbers are not of one kind and may not be put together; empty where they may.
        missing: how many of the declared seeds have been run; empty where all have.
        refusal: why they can not settle the claim all the same; empty where they can.
        shared: beside what the times of a claim about time were measured; empty where each run was alone.
        level: of the interval that decides.
    """

    tier: str
    side: Sample
    other: Sample | None
    paired: bool
    mixed: str
    missing: str
    refusal: str
    shared: str
    level: float = LOOKS[0]


def gather(
    claim: Claim, by_variant: Mapping[tuple[str, str], Sequence[Record]], look: int = 0
) -> Evidence | None:
    """Return the evidence of the highest tier that has any; None where no record measures the claim.

    The first look is at the declared seeds, the second at the added ones alone; seeds that are neither are left out, as
    they were not planned. Records with today's random
    streams and those of schema 1 are never put together; the latter are taken as long as the former are incomplete.
    """
    for tier in reversed(TIERS):
        found = [e for old in (False, True) if (e := _of_one_look(claim, by_variant, tier, old, look))]
        if found:
            return next((e for e in found if not (e.mixed or e.missing or e.refusal)), found[0])
    return None


def _of_one_look(
    claim: Claim, by_variant: Mapping[tuple[str, str], Sequence[Record]], tier: str, old: bool, look: int
) -> Evidence | None:
    looks = (range(SEEDS_OF_SCHEMA_1),) if old else registry()[claim.experiment].looks(tier)
    if look >= len(looks):
        return None
    seeds = looks[look]

    def planned(variant: str, key: str) -> Sample:
        records = by_variant.get((claim.experiment, variant), ())
        return sample((r for r in records if _is_planned(r.identity, tier, seeds, old)), key)

    side = planned(claim.variant, claim.metric)
    other = None
    if claim.against:
        other = planned(
            claim.against.get("variant", claim.variant), claim.against.get("metric", claim.metric)
        )
    if not side.values or (other and not other.values):
        return None
    paired = other is not None and _share_streams(side.records, other.records)
    mixed = _one_protocol(claim, side, other) or _one_machine(claim, side, other)
    missing, refusal = _all_seeds(seeds, side, other), _inverts(claim, side, other)
    shared = _shared(claim, side, other)
    return Evidence(tier, side, other, paired, mixed, missing, refusal, shared, LOOKS[look])


def _is_planned(identity: Identity, tier: str, seeds: range, old: bool) -> bool:
    return identity.tier == tier and identity.seed in seeds and identity.renewed != old


def sample(records: Iterable[Record], key: str) -> Sample:
    """Return what records give under a metric's key."""
    ordered = tuple(sorted(records, key=lambda r: r.identity.seed))
    values = {
        r.identity.seed: r.metrics[key].value for r in ordered if r.status == "done" and key in r.metrics
    }
    lost = tuple(r.identity.seed for r in ordered if r.identity.seed not in values)
    protocols = sorted({r.metrics[key].protocol for r in ordered if r.identity.seed in values})
    return Sample(values, lost, tuple(protocols), ordered)


def _share_streams(records: Sequence[Record], others: Sequence[Record]) -> bool:
    streams = {r.identity.seed: r.identity.seeded_by for r in others}
    return all(r.identity.seeded_by == streams.get(r.identity.seed, r.identity.seeded_by) for r in records)


def _one_protocol(claim: Claim, side: Sample, other: Sample | None) -> str:
    for each in (side, other):
        if each is not None and len(each.protocols) > 1:
            return f"its seeds were measured in {len(each.protocols)} ways: {', '.join(each.protocols)}"
    if other is None or side.protocols == other.protocols:
        return ""
    if len({"compiled" in each.protocols[0].split("/") for each in (side, other)}) > 1:
        return f"compiled is compared with eager: {side.protocols[0]} with {other.protocols[0]}"
    return (
        "" if claim.across else f"two protocols are compared: {side.protocols[0]} with {other.protocols[0]}"
    )


def _one_machine(claim: Claim, side: Sample, other: Sample | None) -> str:
    if not of_the_machine(claim.metric):
        return ""
    records = (*side.records, *(other.records if other else ()))
    found = Counter(machine(r) for r in records if r.status == "done")
    if len(found) > 1:
        return f"measured on {len(found)} machines: {'; '.join(sorted(map(str, found)))}"
    return ""


def of_the_machine(key: str) -> bool:
    """Whether a metric's numbers depend on the machine: times and what compares them, memory."""
    return is_time(key) or "bytes" in catalogued(split_key(key)[0]).unit.split("/")


def machine(record: Record) -> str:
    """Return what a time or a memory depends on beside the code: device, processor, threads."""
    e = record.environment
    gpu = e.get("gpu")
    device = gpu.get("name") if isinstance(gpu, Mapping) else e.get("cpu")
    return f"{device or 'unknown'}, {e.get('threads', '?')} threads"


def _all_seeds(seeds: range, side: Sample, other: Sample | None) -> str:
    n, kind = len(seeds), "added" if seeds.start else "declared"
    for each in (side, other):
        if each is not None and (missing := n - len(each.records)):
            return f"{n - missing} of the {n} {kind} seeds have been run"
    return ""


LOOSENESS = 100.0
"""An inversion error counts as small up to so many times the tolerance of its solve."""


def _inverts(claim: Claim, side: Sample, other: Sample | None) -> str:
    """Refuse a count of evaluations without a check that the solver did not step over the field.

    A flow that is solved well comes back to where it started; a solver that misses what the field does needs few
    evaluations and does not.
    """
    if catalogued(split_key(claim.metric)[0]).unit != "evaluations" or claim.checked:
        return ""
    for record in (*side.records, *(other.records if other else ())):
        if record.status != "done":
            continue
        errors = [m for key, m in record.metrics.items() if key == "inversion_error"]
        if not errors:
            return "no check that the flow inverts stands beside its evaluations"
        for measured in errors:
            bound = LOOSENESS * _tolerance(measured.protocol)
            if measured.value > bound:
                where = f"{record.identity.variant} seed {record.identity.seed}"
                return (
                    f"the flow does not invert: {where} misses by {measured.value:.2g}, more than {bound:g}"
                )
    return ""


def _tolerance(protocol: str) -> float:
    """Return the tolerance that a protocol names, such as dopri5-1e-5; that of fixed steps is 1e-5."""
    named = re.search(r"-(\d+(?:\.\d+)?e-\d+)", protocol)
    return float(named[1]) if named else 1e-5


def _shared(claim: Claim, side: Sample, other: Sample | None) -> str:
    """Return beside what the times of a claim about time were measured, and the command that repeats them alone."""
    if not any(is_time(key) for key in (claim.metric, claim.against.get("metric", claim.metric))):
        return ""
    records = (*side.records, *(other.records if other else ()))
    found = {r.identity.seed: r.shared for r in records if r.status == "done" and r.shared}
    if not found:
        return ""
    seeds, reasons = ", ".join(map(str, sorted(found))), ", ".join(sorted(set(found.values())))
    return f"timed on a shared machine ({'seed' if len(found) == 1 else 'seeds'} {seeds}: {reasons})"


def alone(claim: Claim, evidence: Evidence) -> str:
    """Return the command that repeats the runs of a claim, one at a time."""
    variants = dict.fromkeys((claim.variant, claim.against.get("variant", claim.variant)))
    runs = " ".join(shlex.quote(f"{claim.experiment}/{variant}") for variant in variants)
    seeds = " ".join(f"--seed {record.identity.seed}" for record in evidence.side.records)
    device = str(evidence.side.records[0].environment.get("device", "cpu"))
    where = "" if device == "cpu" else f" --device {device}"
    return f"cnf-bench run {runs} --tier {evidence.tier} {seeds}{where} --jobs 1 --force"


def label(claim: Claim, evidence: Evidence) -> str:
    """Return what kind of evidence settles a claim: one of `bench.claim.LABELS`.

    `transfer` where a number of the machine was not measured on the kind of device that the source used; else the
    claim's own label, or `derived` by its source; else `own setting` where the tier is the published setting; else
    `transfer`.
    """
    if elsewhere(claim, evidence):
        return "transfer"
    if claim.label:
        return claim.label
    if claim.source == "derived":
        return "derived"
    experiment = registry()[claim.experiment]
    variants = {claim.variant, claim.against.get("variant", claim.variant)}
    published = all(experiment.at_published_setting(v, evidence.tier) for v in variants)
    return "own setting" if published else "transfer"


def elsewhere(claim: Claim, evidence: Evidence) -> str:
    """Return on what other kind of device than the source's a claim about time or memory was measured; else nothing.

    What holds by construction holds on any.
    """
    if claim.label == "by construction" or not _of_a_device(claim):
        return ""
    records = (*evidence.side.records, *(evidence.other.records if evidence.other else ()))
    found = {str(r.environment.get("device", "cpu")).split(":")[0] for r in records}
    if claim.device == "cpu":
        return "measured on a GPU, the source on a CPU" if found != {"cpu"} else ""
    return "measured on a CPU, the source on a GPU" if found != {"cuda"} else ""


def _of_a_device(claim: Claim) -> bool:
    """Whether a claim is about a time or a memory, as such or relative to another method's."""
    name, qualifier = split_key(claim.metric)
    return of_the_machine(claim.metric) or (name == "overhead" and "memory" in str(qualifier))
