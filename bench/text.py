"""Text from files and programs, made harmless where it is shown."""

from __future__ import annotations

import re
import unicodedata

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories that a terminal acts on or that no reader sees: controls, marks of direction, separators."""


_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|inf|nan)"
_QUANTITY = re.compile(rf"{_NUMBER}(?: ±? ?{_NUMBER})*(?: [A-Za-z%/]+)*")


def plain(text: str) -> str:
    """Return text on one line with such characters written as escapes.

    >>> plain("red\\x1b[31m")
    'red\\\\x1b[31m'
    """
    return text if text.isprintable() else "".join(_shown(letter) for letter in text)


def told(error: BaseException, longest: int = 200) -> str:
    """Return an error's kind and message on one line, cut to a length.

    >>> told(ValueError("two\\nlines"))
    'ValueError: two lines'
    """
    return " ".join(f"{type(error).__name__}: {error}".split())[:longest]


def cell(text: str) -> str:
    """Return text for a cell of a spreadsheet: on one line, and no formula; numbers and quantities stay as they are.

    >>> cell("=1+1"), cell("-0.5 2.0"), cell("-8.33 ± 0.14 nats")
    ("'=1+1", '-0.5 2.0', '-8.33 ± 0.14 nats')
    """
    shown = plain(text)
    formula = shown.lstrip().startswith(("=", "+", "-", "@")) and not _QUANTITY.fullmatch(shown)
    return f"'{shown}" if formula else shown


def _shown(letter: str) -> str:
    if letter.isascii() and letter.isprintable():
        return letter
    return repr(letter)[1:-1] if unicodedata.category(letter) in HIDDEN else letter
