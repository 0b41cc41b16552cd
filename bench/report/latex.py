"""Tables as LaTeX; the document that inputs them loads the packages booktabs and graphicx."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache

from bench.report.table import Column, Table

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_\allowbreak{}", "/": r"/\allowbreak{}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "[": "{[}", "]": "{]}", "`": r"\textasciigrave{}", "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}", "§": r"\S{}",
    "–": "--", "—": "---", "…": r"\ldots{}", "“": "``", "”": "''", "‘": "`", "’": "'",
}  # fmt: skip

_MATHS = {
    "±": r"\pm", "×": r"\times", "·": r"\cdot", "≤": r"\le", "≥": r"\ge", "≈": r"\approx", "≠": r"\ne",
    "→": r"\to", "−": "-", "∞": r"\infty", "∂": r"\partial", "∇": r"\nabla", "∫": r"\int", "∑": r"\sum",
    "√": r"\surd", "∈": r"\in", "‖": r"\|", "°": r"^\circ", "µ": r"\mu",
}  # fmt: skip
_GREEK_CAPITALS = frozenset("ΓΔΘΛΞΠΣΥΦΨΩ")  # the others are set as Latin letters and have no command

_RAISED = {letter: f"^{{{plain}}}" for letter, plain in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True)} | {
    letter: f"_{{{digit}}}" for digit, letter in enumerate("₀₁₂₃₄₅₆₇₈₉")
}

# A table wider than the line is scaled down to it; any other keeps its size.
_SHRUNK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def document(tables: Iterable[Table]) -> str:
    """Return every table as a float of its own."""
    return "\n".join(render(table) for table in tables)


def render(table: Table) -> str:
    """Return one table as a `table` float: caption, booktabs rules, notes."""
    lines = [
        _line([column.label for column in table.columns], table.columns),
        r"\midrule",
        *(_line(row, table.columns) for row in table.rows),
    ]
    spec = "@{}" + "".join(_column(column) for column in table.columns) + "@{}"
    head = [r"\begin{table}", r"\centering\footnotesize\sloppy\setlength{\tabcolsep}{3pt}"]
    head += [rf"\caption{{{escape(table.caption)}}}", _SHRUNK, rf"\begin{{tabular}}{{{spec}}}", r"\toprule"]
    notes = [rf"\par\smallskip {escape(note)}" for note in table.notes]
    return "\n".join([*head, *lines, r"\bottomrule", r"\end{tabular}}", *notes, r"\end{table}", ""])


def _column(column: Column) -> str:
    return rf"p{{{column.width:g}\linewidth}}" if column.align == "text" else column.align[0]


def _line(cells: Sequence[str], columns: Sequence[Column]) -> str:
    # \raggedright redefines \\, so a row ends with \tabularnewline.
    ragged = (r"\raggedright " if column.align == "text" else "" for column in columns)
    return (
        " & ".join(mark + escape(cell) for mark, cell in zip(ragged, cells, strict=True))
        + r" \tabularnewline"
    )


def escape(text: str) -> str:
    """Return text for LaTeX: marks escaped, symbols and powers of ten in mathematics, on one line."""
    powers = re.split(r"(?<![\w.-])(-?\d+(?:\.\d+)?)e([+-]\d+)\b", " ".join(text.split()))
    parts = [_plain(powers[0])]
    for mantissa, exponent, rest in zip(powers[1::3], powers[2::3], powers[3::3], strict=True):
        parts.append(rf"${mantissa}\times10^{{{int(exponent)}}}$" + _plain(rest))
    return "".join(parts)


def _plain(text: str) -> str:
    # A dotted name may break after a dot, a number may not.
    return re.sub(r"(?<=\w)\.(?=[A-Za-z])", r".\\allowbreak{}", "".join(map(_character, text)))


@cache
def _character(letter: str) -> str:
    maths = _MATHS.get(letter) or _RAISED.get(letter) or _greek(letter)
    if maths:
        return f"${maths}$"
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    # pdfLaTeX sets no character beyond Latin-1 without a font for it; its code point is the honest stand-in.
    return letter if ord(letter) < 0x100 else f"[U+{ord(letter):04X}]"


def _greek(letter: str) -> str | None:
    """The command of a Greek letter: its Unicode name is its LaTeX name, save that Unicode spells lamda."""
    found = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", unicodedata.name(letter, ""))
    if found is None or letter == "ο" or (found[1] == "CAPITAL" and letter not in _GREEK_CAPITALS):
        return None
    name = found[2].lower().replace("lamda", "lambda")
    return "\\" + (name.capitalize() if found[1] == "CAPITAL" else name)
