"""Text from files and programs, made harmless where it is shown."""

from __future__ import annotations

import unicodedata

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories that a terminal acts on or that no reader sees: controls, marks of direction, separators."""


def plain(text: str) -> str:
    """Return text on one line with such characters written as escapes.

    >>> plain("red\\x1b[31m")
    'red\\\\x1b[31m'
    """
    return "".join(_shown(letter) for letter in text)


def _shown(letter: str) -> str:
    if letter.isascii() and letter.isprintable():
        return letter
    return repr(letter)[1:-1] if unicodedata.category(letter) in HIDDEN else letter
