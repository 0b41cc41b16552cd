"""In which order runs are made: those first that settle most claims in a core hour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.campaign.cost import Cost
from bench.campaign.reach import Needs
from bench.execution.plan import Job


@dataclass(frozen=True)
class Unit:
    """Runs that are worth making together.

    Args:
        variants: (experiment, variant) pairs, by name.
        jobs: their missing runs, seed by seed.
        claims: ids of the claims that these can settle, given the units before.
        seconds: of all runs, one after the other; None where one of them is unknown.
        source: of the seconds, the least certain one; see `bench.campaign.cost`.
    """

    variants: tuple[tuple[str, str], ...]
    jobs: tuple[Job, ...]
    claims: tuple[str, ...]
    seconds: float | None
    source: str


CERTAIN = ("recorded", "scaled", "timed", "at least", "unknown")


def units(jobs: Iterable[Job], settled_by: Mapping[str, Needs], cost: Callable[[Job], Cost]) -> list[Unit]:
    """Return missing runs as units, the most claims in an hour first.

    Greedy: of what the open claims need, as far as no earlier unit has it, that with the highest quotient of the
    claims it completes to the time it takes; then what is of unknown cost; then what settles no claim.
    """
    by_variant: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        by_variant.setdefault((job.identity.experiment, job.identity.variant), []).append(job)
    cost_of = {pair: total(map(cost, chosen)) for pair, chosen in by_variant.items()}
    lacking = {claim: needs.intersection(by_variant) for claim, needs in settled_by.items()}
    lacking = {claim: needs for claim, needs in lacking.items() if needs}
    return [
        _unit(pairs, claims, by_variant, total(cost_of[pair] for pair in sorted(pairs)))
        for pairs, claims in _greedy(lacking, cost_of)
    ]


def total(costs: Iterable[Cost]) -> Cost:
    """Return the sum of costs, unknown where one is, as certain as the least certain of them."""
    found = list(costs)
    source = max((c.source for c in found), key=CERTAIN.index, default="recorded")
    known = [c.seconds for c in found if c.seconds is not None]
    return Cost(sum(known) if len(known) == len(found) else None, source)


def _greedy(
    lacking: Mapping[str, Needs], cost_of: Mapping[tuple[str, str], Cost]
) -> Iterator[tuple[Needs, tuple[str, ...]]]:
    """Yield variants that are worth making together, with the claims that they complete, until none is left."""
    open_claims, left = dict(lacking), set(cost_of)
    while left:
        choices = set(open_claims.values()) or {frozenset((pair,)) for pair in left}
        best = min(choices, key=lambda choice: _rank(choice, open_claims, cost_of))
        yield best, _completed(best, open_claims)
        left -= best
        open_claims = {claim: needs - best for claim, needs in open_claims.items() if not needs <= best}


def _completed(choice: Needs, open_claims: Mapping[str, Needs]) -> tuple[str, ...]:
    return tuple(claim for claim, needs in open_claims.items() if needs <= choice)


def _rank(
    choice: Needs, open_claims: Mapping[str, Needs], cost_of: Mapping[tuple[str, str], Cost]
) -> tuple[bool, float, float, list[tuple[str, str]]]:
    """Return what sorts a choice: known before unknown, then claims a second, then seconds."""
    seconds, n = total(cost_of[pair] for pair in choice).seconds, len(_completed(choice, open_claims))
    if seconds is None:
        return True, -n, 0.0, sorted(choice)
    return False, -n / max(seconds, 1.0), seconds, sorted(choice)


def _unit(
    pairs: Needs,
    claims: tuple[str, ...],
    by_variant: Mapping[tuple[str, str], Sequence[Job]],
    cost: Cost,
) -> Unit:
    jobs = [job for pair in sorted(pairs) for job in by_variant[pair]]
    jobs.sort(key=lambda job: job.identity.seed)
    return Unit(tuple(sorted(pairs)), tuple(jobs), claims, cost.seconds, cost.source)


def within(chosen: Sequence[Unit], seconds: float) -> list[bool]:
    """Return which units fit into a budget, each in turn where there is room for the whole of it."""
    room, fits = seconds, []
    for unit in chosen:
        fits.append(unit.seconds is not None and unit.seconds <= room)
        room -= (unit.seconds or 0.0) if fits[-1] else 0.0
    return fits


def in_turn(chosen: Sequence[Unit], seconds: float) -> list[Job]:
    """Return the runs of units: whole units that fit into a budget first, then the others, each in its order."""
    fits = within(chosen, seconds)
    return [
        job
        for wanted in (True, False)
        for unit, fit in zip(chosen, fits, strict=True)
        if fit is wanted
        for job in unit.jobs
    ]
