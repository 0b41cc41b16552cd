"""What the figures of the Neural ODE experiments share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS


def first_seed_records(records: Sequence[Record], curve: str) -> list[Record]:
    """Return one record a variant, the lowest seed that holds a curve."""
    chosen: dict[str, Record] = {}
    for record in sorted(records, key=lambda r: r.identity.seed):
        if curve in record.curves:
            chosen.setdefault(record.identity.variant, record)
    return list(chosen.values())


def colours(records: Sequence[Record]) -> dict[str, str]:
    """Return one colour a variant, for all panels of a figure."""
    return dict(zip(sorted({r.identity.variant for r in records}), cycle(COLOURS), strict=False))


def draw_lines(
    ax: Any,
    records: Sequence[Record],
    curve: str,
    colours: Mapping[str, str],
    scale: float = 1.0,
    **style: Any,
) -> None:
    """Draw one curve of each record in its variant's colour."""
    for record in records:
        variant, drawn = record.identity.variant, record.curves[curve]
        ax.plot(drawn.x, [y * scale for y in drawn.y], color=colours[variant], label=variant, **style)
