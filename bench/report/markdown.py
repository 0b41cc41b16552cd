"""Tables as GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from bench.report.table import Table

_RULES = {"left": ":--", "text": ":--", "right": "--:"}


def document(title: str, tables: Iterable[Table]) -> str:
    """Return a page with one section a table."""
    return "\n".join([f"# {escape(title)}", "", *(render(table) for table in tables)])


def render(table: Table) -> str:
    """Return one table with its caption above and its notes below."""
    lines = [
        _line(column.label for column in table.columns),
        "|" + "|".join(_RULES[column.align] for column in table.columns) + "|",
        *(_line(row) for row in table.rows),
    ]
    head = [f"## {escape(table.title)}", "", escape(table.caption), ""]
    notes = ["", *(f"- {escape(note)}" for note in table.notes)] if table.notes else []
    return "\n".join([*head, *lines, *notes, ""])


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"


def escape(text: str) -> str:
    """Return text with the characters that Markdown would read as marks escaped, on one line."""
    for mark in "\\`*_|<[]":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
