"""A survey as text of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from bench.campaign.order import Unit, within
from bench.campaign.survey import Survey
from bench.execution.plan import Job

WIDTH = 80
HEAD = "claims runs   hours     sum  cost      experiment: variants"
INDENT = HEAD.index("experiment")


def lines(found: Survey, budget: float | None) -> Iterator[str]:
    """Yield a line for each unit, what fits into a budget of so many seconds, and what is beyond the call."""
    limit = float("inf") if budget is None else budget
    fits, spent = within(found.units, limit), 0.0
    if found.units:
        yield HEAD
    for unit, fit in zip(found.units, fits, strict=True):
        spent += (unit.seconds or 0.0) if fit else 0.0
        so_far = hours(spent) if fit else "-"
        cost = "?" if unit.seconds is None else hours(unit.seconds)
        head = f"{len(unit.claims):6}{len(unit.jobs):5}{cost:>8}{so_far:>8}  {unit.source:<10}"
        yield from _wrapped(head, _names(unit))
    inside = [unit for unit, fit in zip(found.units, fits, strict=True) if fit]
    outside = [unit for unit, fit in zip(found.units, fits, strict=True) if not fit]
    yield ""
    if budget is None:
        yield f"all: {_summary(inside + outside)}"
    else:
        yield f"within {hours(budget)} h: {_summary(inside)}"
        yield f"left: {_summary(outside)}"
    yield from beyond(found)


def beyond(found: Survey) -> Iterator[str]:
    """Yield why how many open claims of the call's experiments are out of its reach."""
    for reason, ids in sorted(found.reach.beyond.items(), key=lambda item: (-len(item[1]), item[0])):
        yield from textwrap.wrap(f"out of reach, {len(ids)}: {reason}", WIDTH, subsequent_indent="    ")


def left(found: Survey, jobs: Sequence[Job]) -> str:
    """Return what is left of a call in one line: runs, hours, how many of which the cost is unknown."""
    unknown = sum(found.costs.left(job).seconds is None for job in jobs)
    more = f" and {unknown} of unknown cost" if unknown else ""
    return f"left: {_count(len(jobs), 'run')}, {hours(found.left(jobs).seconds or 0.0)} h{more}"


def hours(seconds: float) -> str:
    """Return seconds as hours, to a hundredth below 100 of them."""
    return f"{seconds / 3600:.2f}" if seconds < 360000 else f"{seconds / 3600:.0f}"


def _summary(units: Sequence[Unit]) -> str:
    known = [unit for unit in units if unit.seconds is not None]
    unknown = sum(len(unit.jobs) for unit in units if unit.seconds is None)
    runs = _count(sum(len(unit.jobs) for unit in units), "run")
    claims = _count(sum(len(unit.claims) for unit in units), "claim")
    more = f" and {unknown} runs of unknown cost" if unknown else ""
    return f"{runs}, {hours(sum(unit.seconds or 0.0 for unit in known))} h{more}, {claims}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")


def _names(unit: Unit) -> str:
    """Return the variants of a unit, each experiment named once: `steer.toy: a b`."""
    parts = []
    for experiment, group in groupby(unit.variants, key=lambda pair: pair[0]):
        parts.append(f"{experiment}: " + " ".join(variant for _, variant in group))
    return " ".join(parts)


def _wrapped(head: str, text: str) -> Iterable[str]:
    wrapped = textwrap.wrap(text, WIDTH - INDENT, break_on_hyphens=False) or [""]
    yield head + wrapped[0]
    for line in wrapped[1:]:
        yield " " * INDENT + line
