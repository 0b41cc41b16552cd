"""Which records are not what today's declarations would make, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from bench.identity import why_stale
from bench.record import Record

OLD_SEEDS = "its random streams are those of schema 1; the run is to be renewed"


class Outdated(NamedTuple):
    """A record to renew: its run, why, and the seconds it took."""

    experiment: str
    variant: str
    tier: str
    seed: int
    stale: bool
    reason: str
    seconds: float


def outdated(records: Iterable[Record]) -> list[Outdated]:
    """Return the stale ones among some records, and those with random streams of another derivation.

    Stale records fill no table; the others do, and say so, until they are renewed.
    """
    rows = []
    for record in records:
        i, reason = record.identity, why_stale(record.identity)
        if reason is not None or not i.renewed:
            stale = reason is not None
            rows.append(
                Outdated(i.experiment, i.row, i.tier, i.seed, stale, reason or OLD_SEEDS, record.duration_s)
            )
    return rows


def summary(rows: Sequence[Outdated]) -> Iterator[str]:
    """Yield a line for each experiment, variant, tier and reason, then what renewing all of it costs."""
    groups: dict[tuple[str, str, str, str], list[Outdated]] = {}
    for row in rows:
        groups.setdefault((row.experiment, row.variant, row.tier, row.reason), []).append(row)
    for (experiment, variant, tier, reason), found in groups.items():
        seeds = ", ".join(str(row.seed) for row in found)
        cost = sum(row.seconds for row in found)
        yield f"{experiment}/{variant} {tier}, seeds {seeds}: {reason} ({cost:.0f} s)"
    stale = sum(row.stale for row in rows)
    hours = sum(row.seconds for row in rows) / 3600
    yield f"{stale} records stale, {len(rows) - stale} to renew; all of it costs {hours:.2f} core hours"
