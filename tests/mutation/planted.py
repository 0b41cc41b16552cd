"""Planted faults: changes of text, each of a kind that once went unseen, that a test must notice.

One line a fault, in the module of its room: `planted_bench`, `planted_ode` (solves and their gradients),
`planted_tasks` (with the rest of the library of flows), `planted_papers`, `planted_sources`. The old text must be in
its source exactly once.
"""

from __future__ import annotations

from typing import NamedTuple

from mutation.planted_bench import FAULTS as IN_BENCH
from mutation.planted_ode import FAULTS as IN_ODE
from mutation.planted_papers import FAULTS as IN_PAPERS
from mutation.planted_sources import FAULTS as IN_SOURCES
from mutation.planted_tasks import FAULTS as IN_TASKS


class Fault(NamedTuple):
    """A name, a source, the text that is in it once and the text in its place, the test modules that notice it."""

    name: str
    source: str
    old: str
    new: str
    tests: str


PLANTED = tuple(
    Fault(name, source, old, new, tests)
    for room in (IN_BENCH, IN_ODE, IN_TASKS, IN_PAPERS, IN_SOURCES)
    for (source, tests), faults in room.items()
    for name, (old, new) in faults.items()
)
