"""Runs of which there are several records: which is shown, and where the others differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.metrics.catalogue import MACHINE_METRICS, is_time, split_key
from bench.record import Record
from bench.report.table import Column, Table, number

Hidden = Sequence[tuple[Record, Record]]
"""(the record shown, another of the same run)."""

COLUMNS = (
    Column("run"),
    Column("quantity"),
    Column("shown", align="right"),
    Column("not shown", align="right"),
    Column("folder of what is not shown"),
)


def origins(hidden: Hidden) -> Iterator[str]:
    """Yield one line for each pair of folders: how many of whose runs are shown from which."""
    pairs = Counter((home(shown), home(other)) for shown, other in hidden)
    for (of, instead), count in pairs.items():
        runs = "1 run is" if count == 1 else f"{count} runs are"
        yield f"{runs} shown from {of} and not from {instead}"


def differences(hidden: Hidden) -> Iterator[str]:
    """Yield one line for each end and each number of a method that differs between two records of a run."""
    for run, quantity, shown, other, folder in rows(hidden):
        yield f"{run}: {quantity} is {shown}, in {folder} {other}"


def table(hidden: Hidden) -> Table | None:
    """Return these differences as a table, None where there is none."""
    found = tuple(rows(hidden))
    caption = "Runs with several records that differ; the first value is the one used"
    return Table("Runs recorded twice", caption, COLUMNS, found) if found else None


def rows(hidden: Hidden) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield (run, quantity, value shown, value not shown, folder); numbers of the machine do not repeat anyway."""
    for shown, other in hidden:
        label, folder = shown.identity.label, str(home(other))
        if shown.status != other.status:
            yield label, "status", shown.status, other.status, folder
            continue
        for key in dict.fromkeys([*shown.metrics, *other.metrics]):
            if is_time(key) or split_key(key)[0] in MACHINE_METRICS:
                continue
            mine, theirs = shown.value(key), other.value(key)
            if mine != theirs:
                yield label, key, _text(mine), _text(theirs), folder


def home(record: Record) -> Path:
    """Return the folder that a record was read from."""
    path = record.path or Path()
    root = path.parent.parent
    return root.parent if root.name == "records" else root


def _text(value: float | None) -> str:
    return "missing" if value is None else number(value, 6)
