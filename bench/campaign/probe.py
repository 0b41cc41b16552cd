"""What a run will cost, from one that is cut short: the time of its parts, at the rate of its first iterations.

With L_p the declared length of training p, K_p the one it is cut to, r_p the seconds an iteration after the first, and
T the time of the whole short run,

    cost = T + sum_p r_p (L_p - K_p)

so that what is done once (compilation, evaluation) counts once. A training that takes longer as it goes on costs more.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import files
from bench.campaign.cost import UNKNOWN, Cost
from bench.errors import UserError
from bench.execution.executor import Limits, execute
from bench.execution.plan import Job
from bench.identity import canonical, digest, identify
from bench.length import lengths
from bench.measure.environment import environment

CUT = 20
"""Iterations of a short run."""
LIMIT = 60.0
"""Seconds of a short run."""


@dataclass
class Training:
    """One training that a run tells of: how many iterations it has, since when, when which of them was done."""

    total: int
    since: float = 0.0
    seen: list[tuple[float, int]] = field(default_factory=list)

    def rate(self, cut: float | None = None) -> float:
        """Return the seconds an iteration after the first that is seen.

        Where only one is, what each up to it took since what was told before; and at least what the next took, where
        the run was cut short meanwhile.

        Args:
            cut: when that was.
        """
        (begun, first), (ended, last) = self.seen[0], self.seen[-1]
        if last > first:
            return (ended - begun) / (last - first)
        return (begun - self.since) / max(first, 1) if cut is None else cut - begun


class Progress:
    """What a run tells on its way: its trainings, how it ended, and the seconds it took."""

    def __init__(self) -> None:
        self.trainings: list[Training] = []
        self.begun = self.ended = 0.0
        self.status = ""

    def __call__(self, job: Job, event: Mapping[str, Any]) -> None:
        """Take one event of the executor."""
        now = time.monotonic()
        if event["event"] == "start":
            self.begun = now
        elif event["event"] == "progress":
            self._progress(now, event["done"], event["total"])
        else:
            self.status, self.ended = event["status"], now

    def _progress(self, now: float, done: int, total: int) -> None:
        last = self.trainings[-1] if self.trainings else None
        if last is None or last.total != total or last.seen[-1][1] >= done:
            last = Training(total, last.seen[-1][0] if last else self.begun)
            self.trainings.append(last)
        last.seen.append((now, done))


def extrapolated(progress: Progress, full: Mapping[int, int]) -> Cost:
    """Return the cost of a whole run.

    Args:
        progress: of the short one.
        full: length of a training that was cut -> its declared length.
    """
    whole = progress.status == "done"
    if not whole and (progress.status != "timeout" or not progress.trainings):
        return UNKNOWN
    last = progress.trainings[-1:]
    left = sum(
        t.rate(progress.ended if not whole and [t] == last else None)
        * (full.get(t.total, t.total) - t.seen[-1][1])
        for t in progress.trainings
    )
    return Cost(progress.ended - progress.begun + left, "timed" if whole else "at least")


class Probe:
    """Makes short runs, and keeps what they say beside the results.

    Args:
        folder: of the results.
        device: see `bench.execution.executor.Limits`.
        until: no short run is made that might end later, on the clock of `time.monotonic`.
        tell: hears of each short run.
    """

    def __init__(self, folder: Path, device: str, until: float, tell: Callable[[str], None]) -> None:
        self.folder, self.device, self.until, self.tell = folder, device, until, tell
        self.path = folder / "costs.json"
        self.kept = self._read()
        self.machine = ""

    def __call__(self, job: Job) -> Cost:
        """Return the cost of a run, measured unless it was before."""
        key = self._key(job)
        if key not in self.kept and time.monotonic() + LIMIT > self.until:
            return UNKNOWN
        if key not in self.kept:
            self.kept[key] = self._measured(job)._asdict()
            files.write(self.path, json.dumps(self.kept, indent=1, sort_keys=True) + "\n", self.folder)
        return Cost(**self.kept[key])

    def _read(self) -> dict[str, dict[str, Any]]:
        """Return what is kept; nothing where it is damaged, as it costs no more than time to make it again."""
        try:
            tree = json.loads(files.read(self.path, 2**24))
            return {key: Cost(**value)._asdict() for key, value in tree.items() if _is_cost(value)}
        except (UserError, ValueError, TypeError, AttributeError):
            return {}

    def _key(self, job: Job) -> str:
        """Return what a cost depends on: the setting, the kind of device, the processor."""
        if not self.machine:
            told = environment(self.device)
            self.machine = canonical([told.get("gpu"), told.get("cpu"), self.device.split(":")[0]])
        i = job.identity
        setting = digest([i.version, i.config, self.machine])[:16]
        return f"{i.experiment}/{i.variant} {i.tier} {setting}"

    def _measured(self, job: Job) -> Cost:
        declared = lengths(job.identity.config)
        cut = {key: CUT + place for place, key in enumerate(declared)}
        cut = {key: short for key, short in cut.items() if short < declared[key]}
        i = job.identity
        short = identify(job.experiment, i.variant, i.tier, i.seed, {**i.overrides, **cut})
        progress = Progress()
        self.tell(f"timing a short run of {i.experiment}/{i.variant} {i.tier} (at most {LIMIT:.0f} s)")
        with tempfile.TemporaryDirectory() as place:
            execute(
                [dataclasses.replace(job, identity=short)],
                Path(place),
                Limits(timeout=LIMIT, device=self.device),
                progress,
            )
        return extrapolated(progress, {value: declared[key] for key, value in cut.items()})


def _is_cost(value: Any) -> bool:
    seconds = value["seconds"]
    return seconds is None or (isinstance(seconds, int | float) and 0 <= seconds < float("inf"))
