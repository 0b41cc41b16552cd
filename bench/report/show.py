"""One record, readable in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.metrics.catalogue import CATALOGUE, split_key
from bench.record import Measured, Record
from bench.report.rounding import with_interval
from bench.report.table import number

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

NORMAL = 1.959964
"""The 97.5 % quantile of the normal law."""


def show(record: Record) -> Group:
    """Return a record as a rich renderable: identity, end, settings, metrics, environment, command."""
    from rich.console import Group
    from rich.text import Text

    i = record.identity
    head = {"run": i.id, "status": record.status, "message": record.message, "last t": record.last_t}
    head |= {"NFE": record.nfe, "started": record.started, "took": f"{number(record.duration_s)} s"}
    head |= {"resumed": f"{record.resumed} times" if record.resumed else None, "command": record.command}
    parts: list[Any] = [Text(i.label, style="bold"), _pairs(head)]
    for title, body in (("Settings", i.config), ("Data (SHA-256)", i.data)):
        if body:
            parts += [Text(f"\n{title}", style="bold"), _pairs(body)]
    if record.metrics:
        parts += [Text("\nMetrics", style="bold"), _metrics(record)]
    if record.curves:
        sizes = {
            key: f"{len(c.x)} points, {c.y_label} against {c.x_label}" for key, c in record.curves.items()
        }
        parts += [Text("\nCurves", style="bold"), _pairs(sizes)]
    return Group(*parts, Text("\nEnvironment", style="bold"), _pairs(_flat(record.environment)))


def _grid(*headers: str) -> Table:
    from rich.table import Table

    return Table(*headers, box=None, pad_edge=False, show_header=bool(headers))


def _pairs(items: Any) -> Table:
    from rich.text import Text

    grid = _grid()
    for key, value in items.items():
        if value not in (None, ""):
            # As Text, for a bracket in a key or message is no markup.
            grid.add_row(Text(f"  {key}", style="dim"), Text(str(value), overflow="fold"))
    return grid


def _metrics(record: Record) -> Table:
    from rich.text import Text

    grid = _grid("  metric", "value", "95 %", "unit", "n", "se", "protocol")
    for key, m in record.metrics.items():
        n, se = ("" if v is None else number(v) for v in (m.n, m.se))
        value, interval = _by_error(key, m)
        cells = (f"  {key}", value, interval, m.unit, n, se, m.protocol)
        grid.add_row(*(Text(cell, overflow="fold") for cell in cells))
    return grid


def _by_error(key: str, m: Measured) -> tuple[str, str]:
    """Return a value rounded by its standard error, and value -+ 1.96 standard errors; a share's within its bounds."""
    if m.se is None or not m.se > 0:
        return number(m.value, 6), ""
    low, high = m.value - NORMAL * m.se, m.value + NORMAL * m.se
    if CATALOGUE[split_key(key)[0]].share:
        low, high = max(low, 0.0), min(high, 100.0 if m.unit == "%" else 1.0)
    value, lower, upper = with_interval(m.value, low, high)
    return value, f"[{lower}, {upper}]"


def _flat(tree: dict[str, Any]) -> dict[str, Any]:
    """Return one level of a nested mapping as `key: a b, c d`."""
    return {
        key: ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        for key, value in tree.items()
    }
