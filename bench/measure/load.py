"""Whether a run had the machine to itself: load, and the processor time of others meanwhile."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

FOREIGN_SHARE = 0.1
"""A machine counts as shared where others used more than so many processors' worth of time during a run."""

UNFINISHED = "not measured: the run did not reach its end"
PROC = Path("/proc")


class Load:
    """Watches what else runs on the machine, from its making until `end`.

    Others' time is the user time (`user`, `nice`, of `/proc/stat`) and the time stolen by other guests of the host,
    less the user time of the run's session, to which its children belong.

    Args:
        jobs: runs at the same time that the caller started.
        overlaps: whether they share processors.
        proc: where the kernel tells of processes; absent on some systems.
        session: of the run; by default that of this process.
    """

    def __init__(
        self, jobs: int = 1, overlaps: bool = False, proc: Path = PROC, session: int | None = None
    ) -> None:
        self._jobs, self._overlaps, self._proc, self._session = jobs, overlaps, proc, session
        self._clock, self._busy, self._own = time.monotonic(), busy_time(proc), own_time(proc, session)
        self._before = load_average()

    def begun(self) -> dict[str, Any]:
        """Return what is known at the start, until `end` replaces it."""
        return unfinished(self._before)

    def end(self) -> dict[str, Any]:
        """Return load averages, processors' worth of others' time, and why the machine was shared, if it was."""
        foreign = self._foreign()
        return {
            "load_before": self._before,
            "load_after": load_average(),
            "foreign_cores": foreign,
            "shared": self._shared(foreign),
        }

    def _foreign(self) -> float | None:
        busy, own = busy_time(self._proc), own_time(self._proc, self._session)
        wall = time.monotonic() - self._clock
        if None in (busy, self._busy, own, self._own) or wall <= 0:
            return None
        others = (busy - self._busy) - (own - self._own)  # type: ignore[operator]
        return round(max(0.0, others) / wall, 3)

    def _shared(self, foreign: float | None) -> str | None:
        if self._jobs > 1:
            same = ", on the same processors" if self._overlaps else ""
            return f"{self._jobs} runs at the same time{same}"
        if foreign is not None:
            return f"other processes used {foreign:.2f} cores" if foreign > FOREIGN_SHARE else None
        if self._before is not None and self._before > 1:
            return f"load average {self._before:.1f} at the start"
        return None


def unfinished(before: float | None = None) -> dict[str, Any]:
    """Return what a record says of a run that ended before its load was measured; it does not count as alone."""
    return {"load_before": before, "load_after": None, "foreign_cores": None, "shared": UNFINISHED}


def load_average() -> float | None:
    """Return the load average of the last minute, None where the system has none."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def busy_time(proc: Path = PROC) -> float | None:
    """Return the seconds that all processors spent in user programs or lost to other guests since the start."""
    try:
        words = (proc / "stat").read_text(encoding="ascii").splitlines()[0].split()
        user, nice, steal = int(words[1]), int(words[2]), int(words[8])
    except (OSError, ValueError, IndexError):
        return None
    return (user + nice + steal) / _ticks()


def own_time(proc: Path = PROC, session: int | None = None) -> float | None:
    """Return the seconds of user time of a session, by default this process's, ended children included."""
    total, session = 0, os.getsid(0) if session is None else session
    found = False
    for path in proc.glob("[0-9]*/stat"):
        try:
            # after the name, which is in brackets and may hold anything: state, parent, group, session, ...
            words = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(words[3]) == session:
                total += int(words[11]) + int(words[13])  # its own, and that of children it waited for
                found = True
        except (OSError, ValueError, IndexError):  # ended meanwhile
            continue
    return total / _ticks() if found else None


def _ticks() -> int:
    return os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
