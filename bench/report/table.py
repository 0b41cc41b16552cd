"""The table model that every renderer reads, and how numbers are written in it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.text import cell, plain

MOST_COLUMNS = 10
EMPTY = "–"

_SCALES = {
    "bytes": (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10), ("bytes", 1.0)),
    "s": (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)),
    "count": (("", 1.0),),
}


@dataclass(frozen=True)
class Column:
    """One column: header, unit, alignment; `text` wraps to `width`, a share of the line."""

    header: str
    unit: str = ""
    align: Literal["left", "right", "text"] = "left"
    width: float = 0.15

    @property
    def label(self) -> str:
        """Header with its unit."""
        return f"{self.header} ({self.unit})" if self.unit else self.header


@dataclass(frozen=True)
class Table:
    """A titled table of text cells; the first cell of a row names the row."""

    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows = tuple(tuple(plain(" ".join(cell.split())) for cell in row) for row in self.rows)
        object.__setattr__(self, "rows", rows)


def narrowed(table: Table) -> Table:
    """Return the table, transposed where it has more than ten columns and turning it makes it narrower."""
    if len(table.columns) <= MOST_COLUMNS or len(table.rows) + 1 >= len(table.columns):
        return table
    corner = Column("quantity")
    columns = (corner, *(Column(row[0], align="right") for row in table.rows))
    rows = tuple(
        (column.label, *(row[i] for row in table.rows)) for i, column in enumerate(table.columns) if i > 0
    )
    return replace(table, columns=columns, rows=rows)


def display_unit(unit: str, values: Iterable[float]) -> tuple[str, float]:
    """Return the unit of a column, chosen by its largest value, and what its values are divided by.

    Bytes become KiB, MiB or GiB, seconds ms or µs, also in `bytes/step` and the like; a count shows none.
    """
    base, *rest = unit.split("/", 1)
    if base not in _SCALES:
        return unit, 1.0
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    scales = _SCALES[base]
    name, divisor = next((scale for scale in scales if largest >= scale[1]), scales[-1])
    return "/".join([name, *rest]), divisor


def number(value: float, digits: int = 4) -> str:
    """Return a number with its significant digits; whole numbers below 10^9 are written out."""
    if not math.isfinite(value):
        return str(value)
    if value == round(value) and abs(value) < 1e9:
        return str(round(value))
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV text; None is an empty cell, a float keeps every digit, no text is a formula."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([cell(value) if isinstance(value, str) else value for value in row] for row in rows)
    return buffer.getvalue()
