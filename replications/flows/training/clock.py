"""A clock for training: what is spent on data is told apart."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class TrainingClock:
    """A clock that stands while data is drawn, and tells for how long it has stood.

    Args:
        clock: reads the time in seconds, once the device has finished what it was given.

    Attributes:
        drawing: seconds spent on data so far.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock, self.drawing = clock, 0.0

    def __call__(self) -> float:
        """Return the time in seconds, without that spent on data."""
        return self.clock() - self.drawing

    def drawn(self, draw: Callable[P, R]) -> Callable[P, R]:
        """Return what draws data, such that the clock stands meanwhile."""

        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            start = self.clock()
            data = draw(*args, **kwargs)
            self.drawing += self.clock() - start
            return data

        return timed
