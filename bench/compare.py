"""Two variants, or two folders of records, metric by metric: paired over seeds.

| compared | pairs |
|---|---|
| `lecture.mnist/digits` and `lecture.mnist/digits_adjoint` | the runs of one tier and seed |
| the folders `before` and `after` | the runs of one experiment, variant, tier and seed, each variant apart |

A metric is compared where both sides measured it by one protocol in at least two common seeds. Times and memory are
compared on one machine only, and times only where both sides ran alone.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.evidence import machine, of_the_machine
from bench.inference import Side, side
from bench.metrics.catalogue import is_time, metric, split_key
from bench.record import Record, find
from bench.registry import select
from bench.stats import Interval, mean_interval, paired_difference

LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """A metric of the second side less that of the first.

    Args:
        row: what is compared; the variant where folders are.
        key: of the metric.
        unit: of its values.
        first: mean over the common seeds and its interval.
        second: likewise.
        difference: of second - first, paired.
        verdict: `better` or `worse` of the second, by the metric's direction; `other` where it has none; empty where
            the interval, at a level of 95 % for all that is compared together (Bonferroni), includes zero.
    """

    row: str
    key: str
    unit: str
    first: Interval
    second: Interval
    difference: Interval
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """All differences, and a line for each metric that was left out, with the reason."""

    differences: list[Difference]
    left_out: list[str]

    @property
    def worse(self) -> bool:
        """Whether the second side is worse in anything."""
        return any(d.verdict == "worse" for d in self.differences)


Runs = Mapping[int, Record]
"""Finished records of one variant by seed."""


def compare(
    first: str, second: str, folders: Sequence[Path], tier: str, patterns: Sequence[str] = ()
) -> Comparison:
    """Return how the second side differs from the first.

    Args:
        first: `experiment/variant`, or a folder with records.
        second: likewise, of the same kind.
        folders: where the records of variants are.
        tier: of the runs.
        patterns: of the metrics; all of them without any.

    Raises:
        UserError: neither two variants nor two folders, or nothing that both sides have.
    """
    sides = list(_pairs(first, second, folders, tier))
    if not sides:
        raise UserError(
            f"{first} and {second} have no finished run of one variant, tier {tier} and seed in common"
        )
    keys = [
        (row, key, a, b)
        for row, a, b in sides
        for key in dict.fromkeys(key for record in a.values() for key in record.metrics)
        if _named(key, patterns)
    ]
    left_out, found = [], []
    for row, key, a, b in keys:
        reason = _why_not(key, a, b)
        if reason:
            left_out.append(f"{row} {key}: {reason}")
        else:
            found.append((row, key, a, b))
    return Comparison([_difference(*one, len(found)) for one in found], left_out)


def _pairs(first: str, second: str, folders: Sequence[Path], tier: str) -> Iterator[tuple[str, Runs, Runs]]:
    """Yield a row, and the runs of both sides by their common seeds."""
    if Path(first).is_dir() and Path(second).is_dir():
        a, b = (_by_row(find([Path(folder)]).records, tier) for folder in (first, second))
        both = [(row, a[row], b[row]) for row in a if row in b]
    elif "/" in first and "/" in second:
        by_row = _by_row(find(folders).records, tier)
        names = _named_one(first), _named_one(second)
        both = [(" against ".join(reversed(names)), by_row.get(names[0], {}), by_row.get(names[1], {}))]
    else:
        raise UserError(
            f"give two folders with records, or two `experiment/variant`, got {first!r} and {second!r}"
        )
    for row, mine, other in both:
        seeds = sorted(mine.keys() & other.keys())
        if seeds:
            yield row, {s: mine[s] for s in seeds}, {s: other[s] for s in seeds}


def _named_one(name: str) -> str:
    """Return `experiment/variant`, after a look whether there is one.

    Raises:
        UserError: there is none, or several match.
    """
    found = select([name])
    if len(found) != 1:
        raise UserError(f"{name!r} names {len(found)} variants: name one")
    return f"{found[0][0].name}/{found[0][1]}"


def _by_row(records: Iterable[Record], tier: str) -> dict[str, dict[int, Record]]:
    found: dict[str, dict[int, Record]] = {}
    for record in records:
        i = record.identity
        if i.tier == tier and record.status == "done":
            found.setdefault(f"{i.experiment}/{i.row}", {})[i.seed] = record
    return found


def _named(key: str, patterns: Sequence[str]) -> bool:
    names = key, split_key(key)[0]
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _why_not(key: str, a: Runs, b: Runs) -> str:
    """Return why a metric of two sides can't be compared; empty where it can."""
    sides = [[record for record in runs.values() if key in record.metrics] for runs in (a, b)]
    if any(len(measured) < len(runs) for measured, runs in zip(sides, (a, b), strict=True)):
        return "not measured by all runs"
    if len(a) < 2:
        return "a single common seed"
    both = [record for measured in sides for record in measured]
    if len({record.metrics[key].protocol for record in both}) > 1:
        return "two protocols"
    if of_the_machine(key) and len({machine(record) for record in both}) > 1:
        return "two machines"
    if is_time(key) and any(record.shared is not None for record in both):
        return "timed on a shared machine"
    return ""


def _difference(row: str, key: str, a: Runs, b: Runs, compared: int) -> Difference:
    first, second = ([runs[seed].metrics[key].value for seed in a] for runs in (a, b))
    found = metric(split_key(key)[0])
    strict = paired_difference(second, first, 1 - (1 - LEVEL) / compared)
    return Difference(
        row,
        key,
        found.unit,
        mean_interval(first),
        mean_interval(second),
        paired_difference(second, first),
        _verdict(strict, found.direction),
    )


def _verdict(difference: Interval, direction: str) -> str:
    where = side(difference, 0.0)
    if where is Side.ASTRIDE:
        return ""
    if direction == "none":
        return "other"
    return "better" if (where is Side.BELOW) == (direction == "lower") else "worse"
