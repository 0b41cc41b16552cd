"""Which open claims a call's runs can settle, and why not the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.claim import Claim
from bench.execution.plan import Job
from bench.experiment import TIERS
from bench.length import least_tier
from bench.metrics.catalogue import is_time
from bench.registry import registry
from bench.verdict import Verdict

OPEN = ("not run", "inconclusive", "scaled-down")
"""Verdicts that more runs may change."""

Needs = frozenset[tuple[str, str]]
"""The (experiment, variant) pairs that a claim needs."""


@dataclass(frozen=True)
class Call:
    """What a call would run.

    Args:
        tier: of all its runs.
        planned: all of them, those that have a record too.
        missing: those that have none.
        jobs: how many run at the same time.
        absent: data sets that are not at hand.
    """

    tier: str
    planned: Sequence[Job]
    missing: Sequence[Job]
    jobs: int = 1
    absent: frozenset[str] = frozenset()

    @property
    def experiments(self) -> set[str]:
        """Names of the experiments of the call."""
        return {job.identity.experiment for job in self.planned}


@dataclass(frozen=True)
class Reach:
    """The open claims of a call's experiments.

    Args:
        settled_by: id of a claim that the call can settle -> the variants it needs.
        beyond: reason -> ids of the claims that it can not settle.
    """

    settled_by: Mapping[str, Needs]
    beyond: Mapping[str, Sequence[str]]


def reach(verdicts: Iterable[Verdict], call: Call) -> Reach:
    """Return which of the open claims of a call's experiments its missing runs can settle.

    A claim needs all declared seeds of all its variants at its tier or a higher one, its data, and runs made alone
    where it is about time. A run with a setting in place of a declared one settles nothing.
    """
    seeds: dict[tuple[str, str], set[int]] = {}
    for job in call.planned:
        if not job.identity.overrides:
            seeds.setdefault(_pair(job), set()).add(job.identity.seed)
    missing = {_pair(job) for job in call.missing}
    unread = {_pair(job) for job in call.missing if call.absent & set(job.data_sets)}
    settled_by: dict[str, Needs] = {}
    beyond: dict[str, list[str]] = {}
    for verdict in verdicts:
        claim = verdict.claim
        if verdict.verdict not in OPEN or claim.experiment not in call.experiments:
            continue
        reason = _beyond(verdict, call, seeds, missing, unread)
        if reason:
            beyond.setdefault(reason, []).append(claim.id)
        else:
            settled_by[claim.id] = needs(claim)
    return Reach(settled_by, beyond)


def needs(claim: Claim) -> Needs:
    """Return the (experiment, variant) pairs that a claim compares."""
    variants = (claim.variant, claim.against.get("variant", claim.variant))
    return frozenset((claim.experiment, variant) for variant in variants)


def about_time(claim: Claim) -> bool:
    """Whether a claim is about a time, on either side."""
    return any(is_time(key) for key in (claim.metric, claim.against.get("metric", claim.metric)))


def _beyond(
    verdict: Verdict,
    call: Call,
    seeds: Mapping[tuple[str, str], set[int]],
    missing: set[tuple[str, str]],
    unread: set[tuple[str, str]],
) -> str:
    """Return why a call can not settle a claim; empty where it can."""
    claim, pairs = verdict.claim, needs(verdict.claim)
    experiment = registry()[claim.experiment]
    wanted = set(range(experiment.all_seeds(call.tier)))
    if TIERS.index(call.tier) < TIERS.index(least_tier(claim)):
        return f"they need tier {least_tier(claim)}"
    if verdict.tier and TIERS.index(verdict.tier) > TIERS.index(call.tier):
        return f"their records of tier {verdict.tier} count"
    if not all(experiment.offers(variant, call.tier) for _, variant in pairs):
        return f"a variant of theirs is not offered at tier {call.tier}"
    if any(not wanted <= seeds.get(pair, set()) for pair in pairs):
        return "the call leaves out variants or seeds of theirs, or sets something"
    if pairs & unread:
        return "their data is not at hand"
    if not pairs & missing:
        return "all their runs are recorded; `cnf-bench power` says what is lacking"
    if call.jobs > 1 and about_time(claim):
        return "they are about time, and need --jobs 1"
    return ""


def _pair(job: Job) -> tuple[str, str]:
    return job.identity.experiment, job.identity.variant
