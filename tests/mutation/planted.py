"""Faults that once went unseen, or are of their kind: each a change of text that some test must notice."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """A name, the source file, the text that is in it once and the text in its place, and the tests that notice it."""

    name: str
    source: str
    old: str
    new: str
    tests: str


BENCH = "tests/bench"

PLANTED: tuple[Fault, ...] = ()
