"""What would settle each claim that is open for want of seeds or of length, and what that costs."""

from __future__ import annotations

import fnmatch
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.campaign.cost import Costs
from bench.campaign.order import total
from bench.campaign.reach import needs
from bench.campaign.show import WIDTH, hours
from bench.claim import Claim
from bench.errors import UserError
from bench.execution.plan import Job
from bench.identity import identify, plain
from bench.inference import LOOKS
from bench.length import least_tier, lengths
from bench.power import seeds_to_settle, seen
from bench.record import SETTLED, Record
from bench.registry import registry
from bench.stats import Interval
from bench.verdict import LOST, MIXED, ON_LIMIT, SEEDS_MISSING, SHARED, UNBOUNDED, UNCHECKED, Verdict

ON_THE_LIMIT = "no n: the estimate lies on the limit"


@dataclass(frozen=True)
class Lack:
    """What would settle a claim.

    Args:
        claim: its id.
        verdict: as it is now.
        n: seeds that its number rests on now.
        needed: seeds in all, first and added, that settle it with a chance of 0.8, if the estimates are the truth;
            None where seeds alone do not.
        tier: at which.
        what: what is to be done, or why no number of seeds does it.
        seconds: of the runs that are missing; None where unknown or of no use.
    """

    claim: str
    verdict: str
    n: int
    needed: int | None
    tier: str
    what: str
    seconds: float | None


def lacking(verdicts: Iterable[Verdict], records: Iterable[Record], costs: Costs) -> list[Lack]:
    """Return what would settle each inconclusive and each scaled-down claim, the cheapest first."""
    done = {r.identity.run for r in records if r.status in SETTLED and r.identity.renewed}
    found = [
        _longer(v, done, costs) if v.verdict == "scaled-down" else _more(v, done, costs)
        for v in verdicts
        if v.verdict in ("scaled-down", "inconclusive")
    ]
    return sorted(found, key=lambda lack: (lack.seconds is None, lack.seconds or 0.0, lack.claim))


INSTEAD = {
    SHARED: "repeat alone",
    MIXED: "measure all of it in one way, on one machine",
    UNCHECKED: "runs whose flow is seen to invert",
    LOST: "runs that end with a number",
    UNBOUNDED: "a quotient whose denominator stays away from zero",
}
"""What settles a claim where seeds alone do not, by the cause of its verdict."""


def _more(verdict: Verdict, done: set[Any], costs: Costs) -> Lack:
    """Return how many seeds an inconclusive claim needs, or what it needs in their place."""
    claim, interval, tier = verdict.claim, verdict.measured, verdict.tier
    n = 0 if interval is None else interval.n
    experiment = registry()[claim.experiment]
    needed, what, seconds = None, verdict.reason, None
    if verdict.cause == SEEDS_MISSING:
        looks = experiment.looks(tier)
        kind = "declared" if verdict.level == LOOKS[0] else "added"
        needed = experiment.planned_seeds(tier) if kind == "declared" else looks[-1].stop
        what = f"the {needed if kind == 'declared' else len(looks[-1])} {kind} seeds"
        seconds = _cost(claim, tier, range(needed), done, costs)
    elif verdict.cause == ON_LIMIT and interval is not None:
        needed, what = _second_look(verdict, interval)
        if needed is not None:
            first = experiment.planned_seeds(tier)
            seconds = _cost(claim, tier, range(first, needed), done, costs)
    elif verdict.cause in INSTEAD:
        what = f"{INSTEAD[verdict.cause]}: {verdict.reason}"
        if verdict.cause == SHARED:
            seconds = _cost(claim, tier, range(experiment.planned_seeds(tier)), set(), costs)
    return Lack(claim.id, verdict.verdict, n, needed, tier, what, seconds)


def _second_look(verdict: Verdict, interval: Interval) -> tuple[int | None, str]:
    """Return how many seeds in all a second look needs, and what is to be done."""
    if verdict.level != LOOKS[0]:
        return None, "both looks are taken, a third would be one too many"
    experiment = registry()[verdict.claim.experiment]
    if declared := experiment.added.get(verdict.tier):
        return experiment.all_seeds(verdict.tier), f"the {declared} added seeds"
    on_scale = seen(verdict.claim, interval)
    added = None if on_scale is None else seeds_to_settle(on_scale, LOOKS[1])
    if added is None:
        return None, ON_THE_LIMIT
    first = experiment.planned_seeds(verdict.tier)
    what = (
        f'added = {{"{verdict.tier}": {added}}}, declared before they run and judged alone at {LOOKS[1]:.0%}'
    )
    return first + added, what


def _longer(verdict: Verdict, done: set[Any], costs: Costs) -> Lack:
    """Return how much longer a scaled-down claim must be trained."""
    claim, tier = verdict.claim, least_tier(verdict.claim)
    experiment = registry()[claim.experiment]
    offered = all(experiment.offers(variant, tier) for _, variant in needs(claim))
    n = verdict.measured.n if verdict.measured else 0
    if not offered:
        what = f"its variants are not offered at tier {tier}"
        return Lack(claim.id, verdict.verdict, n, None, tier, what, None)
    was, now = (lengths(plain(experiment.configure(claim.variant, each))) for each in (verdict.tier, tier))
    longer = [f"{now[key]} {key} for {was[key]}" for key in now if now[key] != was.get(key, now[key])]
    what = f"tier {tier}" + (f": {', '.join(longer)}" if longer else "")
    needed = experiment.planned_seeds(tier)
    seconds = _cost(claim, tier, range(needed), done, costs)
    return Lack(claim.id, verdict.verdict, n, needed, tier, what, seconds)


def _cost(claim: Claim, tier: str, seeds: range, done: set[Any], costs: Costs) -> float | None:
    """Return the seconds of those of a claim's runs that are not done."""
    experiment = registry()[claim.experiment]
    pairs = sorted(needs(claim))
    jobs = [
        Job(experiment, identify(experiment, variant, tier, seed)) for seed in seeds for _, variant in pairs
    ]
    return total(costs.left(job) for job in jobs if job.identity.run not in done).seconds


def chosen(verdicts: Sequence[Verdict], patterns: Sequence[str]) -> list[Verdict]:
    """Return the verdicts whose claim's id or experiment and variant match one of some patterns; all without any.

    Raises:
        UserError: a pattern that matches no claim.
    """
    found: dict[str, Verdict] = {} if patterns else {v.claim.id: v for v in verdicts}
    for pattern in patterns:
        full = pattern if "/" in pattern else f"{pattern}/*"
        matching = [
            v
            for v in verdicts
            if fnmatch.fnmatchcase(v.claim.id, pattern)
            or fnmatch.fnmatchcase(f"{v.claim.experiment}/{v.claim.variant}", full)
        ]
        if not matching:
            raise UserError(
                f"no claim matches {pattern!r}; give the id of one, or experiments as in `cnf-bench list`"
            )
        found |= {v.claim.id: v for v in matching}
    return [v for v in verdicts if v.claim.id in found]


def lines(lacks: Sequence[Lack]) -> Iterator[str]:
    """Yield two lines for each claim, in 80 columns: seeds now and needed, core hours, id; then what is to be done."""
    if lacks:
        yield "  has needs   hours  claim"
    for lack in lacks:
        needed = "-" if lack.needed is None else str(lack.needed)
        cost = "-" if lack.seconds is None else hours(lack.seconds)
        yield f"{lack.n:5}{needed:>6}{cost:>8}  {lack.claim}"
        yield from textwrap.wrap(
            lack.what, WIDTH, initial_indent=" " * 21, subsequent_indent=" " * 21, max_lines=2
        )
    known = [lack.seconds for lack in lacks if lack.seconds is not None]
    yield f"{len(lacks)} open claims; {len(known)} could be settled, in {hours(sum(known))} core hours if each alone"


def to_json(lacks: Iterable[Lack]) -> list[dict[str, Any]]:
    """Return what is lacking as JSON-able data: the stable output of `cnf-bench power --json`."""
    return [asdict(lack) for lack in lacks]
