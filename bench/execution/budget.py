"""How long one call may go on: it starts no run that would not end in time, and ends in time whatever runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.errors import UserError
from bench.execution.plan import Job

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST = 1000 * 86400.0
STARTING = 5.0
"""Seconds in which a run's process starts and imports."""
_LENGTH = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhd])", re.ASCII)


def read_length(text: str) -> float:
    """Return the seconds of a length of time such as `90m`, `24h` or `1.5h`.

    >>> read_length("90m"), read_length("1.5h")
    (5400.0, 5400.0)

    Raises:
        UserError: it is none, zero, or longer than 1000 days.
    """
    found = _LENGTH.fullmatch(text.strip().lower())
    seconds = float(found[1]) * SECONDS[found[2]] if found else 0.0
    if not 0 < seconds <= LONGEST:
        raise UserError(f"--budget wants a length of time such as 90m, 24h or 1.5h, got {text[:40]!r}")
    return seconds


@dataclass(frozen=True)
class Budget:
    """When a call ends, and what its runs are expected to take.

    Args:
        ends: on the clock of `time.monotonic`.
        expected: run -> seconds; one that is absent is started as long as there is time to start it.
    """

    ends: float
    expected: Mapping[object, float] = field(default_factory=dict)

    def fits(self, job: Job, now: float) -> bool:
        """Whether a run that starts now is expected to end in time."""
        return now + self.expected.get(job.identity.run, STARTING) <= self.ends

    def next(self, waiting: list[Job], now: float) -> int | None:
        """Return the place of the first run that fits, None where none does."""
        return next((i for i, job in enumerate(waiting) if self.fits(job, now)), None)


ENDED = "the budget of the call ended; the same command goes on from the run's checkpoint"
"""What the record of a run says that was going on then."""
