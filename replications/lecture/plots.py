"""What the figures of the lecture's experiments share."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from bench.experiment import TIERS
from bench.record import Record


def chosen(records: Iterable[Record]) -> list[Record]:
    """Return the finished records of the highest tier there is, by variant and seed."""
    done = [r for r in records if r.status == "done"]
    top = max((TIERS.index(r.identity.tier) for r in done), default=-1)
    found = [r for r in done if TIERS.index(r.identity.tier) == top]
    return sorted(found, key=lambda r: (r.identity.variant, r.identity.seed))


def first_seeds(records: Iterable[Record]) -> dict[str, Record]:
    """One record a method; only the problem `linear` differs between seeds."""
    groups = itertools.groupby(chosen(records), key=lambda r: r.identity.variant)
    return {variant: next(group) for variant, group in groups}


def unique(ax: Any) -> tuple[list[Any], list[str]]:
    """Legend entries without the repeats that several seeds give."""
    entries = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    return list(entries.values()), list(entries)
