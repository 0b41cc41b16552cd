"""What a person sees while runs go on: what is running, how far it is, and the time left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from bench.execution.plan import Job
from bench.text import plain


class Display:
    """A bar a run and one for all of them on a terminal; one line a finished run elsewhere.

    The time left is the sum over unfinished runs of what the same experiment and variant took before, or of
    the mean so far where that is unknown.
    """

    def __init__(self, jobs: Sequence[Job], kept: int, workers: int = 1) -> None:
        self.workers = workers
        self.console = Console(stderr=True)
        self.total = len(jobs)
        self.kept = kept
        self.waiting = list(jobs)
        self.running: dict[str, tuple[TaskID, float]] = {}
        self.took: dict[tuple[str, str], float] = {}
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.overall = self.bars.add_task("all runs", total=self.total, note="")

    def __enter__(self) -> Display:
        kept = f", {self.kept} already recorded" if self.kept else ""
        self.console.print(f"{self.total} runs to do{kept}", highlight=False)
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def __call__(self, job: Job, event: dict[str, Any]) -> None:
        """Take one event of the executor."""
        {"start": self._start, "progress": self._progress, "end": self._end}[event["event"]](job, event)
        done = self.total - len(self.waiting)
        left = f"{done}/{self.total}  about {_duration(self.seconds_left())} left"
        self.bars.update(self.overall, completed=done, note=left)

    def _start(self, job: Job, event: dict[str, Any]) -> None:
        task = self.bars.add_task(job.identity.label, total=None, note="starting")
        self.running[job.identity.id] = (task, time.monotonic())

    def _progress(self, job: Job, event: dict[str, Any]) -> None:
        task, _ = self.running[job.identity.id]
        note = plain(f"{event['done']}/{event['total']} {event['note']}")
        self.bars.update(task, completed=event["done"], total=event["total"], note=note)

    def _end(self, job: Job, event: dict[str, Any]) -> None:
        task, begun = self.running.pop(job.identity.id)
        self.bars.remove_task(task)
        self.waiting.remove(job)
        seconds = time.monotonic() - begun
        self.took[job.identity.experiment, job.identity.variant] = seconds
        message = f": {event['message']}" if event.get("message") else ""
        number = f"[{self.total - len(self.waiting)}/{self.total}]"
        line = f"{number} {event['status']:11} {seconds:6.1f} s  {job.identity.label}{message}"
        self.console.print(plain(line), markup=False, highlight=False, soft_wrap=True)

    def seconds_left(self) -> float:
        """Return the estimated seconds until the last run ends, the workers equally busy."""
        mean = sum(self.took.values()) / len(self.took) if self.took else 20.0
        now = time.monotonic()
        left = 0.0
        for job in self.waiting:
            expected = self.took.get((job.identity.experiment, job.identity.variant), mean)
            begun = self.running.get(job.identity.id, (None, now))[1]
            left += max(0.0, expected - (now - begun))
        return left / self.workers


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
