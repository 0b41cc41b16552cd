"""Runs jobs, each in a fresh process that is ended at its time limit; every end leaves a record."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import files
from bench import record as records
from bench.errors import Unwritable, UserError
from bench.execution.budget import ENDED, Budget
from bench.execution.cores import Cores, asked_for, cores, settings, threads
from bench.execution.log import Log
from bench.execution.plan import Job, Unavailable
from bench.execution.processes import end_group, end_leftovers, mark, python, terminable, undisturbed
from bench.execution.run import checkpoint_paths
from bench.execution.worker import LONGEST, command
from bench.measure.load import Load, unfinished
from bench.measure.memory import QUIET_ENVIRONMENT
from bench.record import Record

IMPORT_LIMIT = 300.0
"""Seconds a child may take until its imports are done; only then does its own time limit start."""

RESERVED = 2**18
"""Bytes that are kept free for a run's record, so that nothing it writes before can cost it."""

DETERMINISTIC = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""What cuBLAS needs to give the same result every time."""


@dataclass(frozen=True)
class Limits:
    """What every run of one call is held to.

    Args:
        workers: runs at the same time.
        timeout: seconds a run; None takes the experiment's own.
        memory: bytes of data a run may allocate; None is no limit.
        device: `cpu`, `cuda` or `cuda:<n>`.
        threads: of each run, as the user asked; None takes `OMP_NUM_THREADS`, else what the experiment declares.
        budget: of the call; None is no limit.
    """

    workers: int = 1
    timeout: float | None = None
    memory: int | None = None
    device: str = "cpu"
    threads: int | None = None
    budget: Budget | None = None


@dataclass(frozen=True)
class Place:
    """Where a run runs.

    Args:
        slot: its place among the runs at the same time.
        jobs: how many runs there are at the same time.
        share: numbers of its processors.
        threads: how many it has.
        machine: what all of them may use.
    """

    slot: int
    jobs: int
    share: tuple[int, ...]
    threads: int
    machine: Cores

    @property
    def overlaps(self) -> bool:
        """Whether other runs have the same processors."""
        return self.jobs > len(self.machine.allowed)

    def described(self) -> dict[str, Any]:
        """Return what a record says of it."""
        return {"jobs": self.jobs, "cores": len(self.machine.allowed), "quota": self.machine.quota}


@dataclass
class Child:
    """A running process and what it has told so far; `load` watches the machine from when it is ready."""

    job: Job
    process: subprocess.Popen[str]
    log: Path
    printed: Log
    device: str
    limit: float
    deadline: float
    started: str
    place: Place
    environment: dict[str, Any]
    begun: float = field(default_factory=time.monotonic)
    status: str | None = None
    load: Load | None = None
    stopped: bool = False


Listener = Callable[[Job, dict[str, Any]], None]
"""Called with a job and an event: `start`, `progress`, `end`."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an output folder for this process alone; what is left of an earlier call into it is ended first.

    Raises:
        UserError: another process holds it, or it cannot be written.
    """
    with files.open_lock(folder) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{folder} is in use by another cnf-bench; wait for it, or choose another --out"
            ) from error
        for torn in folder.glob("*/*/.*.part"):  # what a killed process was about to rename
            if files.is_draft(torn.name):
                files.remove(torn, folder)
        end_leftovers(folder)
        yield


def execute(jobs: Sequence[Job], folder: Path, limits: Limits, listener: Listener) -> dict[str, int]:
    """Run jobs and return how many ended with each status.

    On Ctrl-C and SIGTERM the children are ended, each leaving a record of status `interrupted`.

    Runs at the same time are pinned to processors of their own. With a budget, a run is started only if it is expected
    to end in time, the first such one; what still goes on when it ends is interrupted.

    Raises:
        UserError: a record cannot be written or has no room, or `OMP_NUM_THREADS` or `OMP_WAIT_POLICY` is nonsense.
        KeyboardInterrupt: after the children are ended; a `Terminated` where it was SIGTERM.
    """
    machine = cores()
    asked = limits.threads or asked_for(os.environ)
    workers = max(1, min(limits.workers, len(jobs)))
    shares = machine.shares(workers)
    free = list(range(workers))
    waiting = list(jobs)
    running: dict[int, Child] = {}
    events: queue.Queue[tuple[int, dict[str, Any]]] = queue.Queue()
    counts: dict[str, int] = {}
    with terminable():
        try:
            while running or _next(waiting, limits) is not None:
                while free and (place_of := _next(waiting, limits)) is not None:
                    job, slot = waiting.pop(place_of), free.pop(0)
                    count = threads(job.experiment.threads, shares[slot], machine, asked, workers)
                    place = Place(slot, workers, shares[slot], count, machine)
                    child = _start(job, folder, limits, place, events)
                    running[child.process.pid] = child
                    listener(child.job, {"event": "start"})
                with contextlib.suppress(queue.Empty):
                    pid, event = events.get(timeout=0.1)
                    status = _handle(running[pid], event, folder, limits, listener)
                    if status:
                        counts[status] = counts.get(status, 0) + 1
                        free.append(running[pid].place.slot)
                        del running[pid]
                for child in running.values():
                    if time.monotonic() > child.deadline:
                        _kill(child, folder)
                    elif limits.budget and time.monotonic() > limits.budget.ends and _goes_on(child):
                        child.stopped = True
                        _kill(child, folder)
        except BaseException as error:
            with undisturbed():
                for child in running.values():
                    _kill(child, folder)
                    if child.status is None and isinstance(error, KeyboardInterrupt):
                        _write_end(child, folder, "interrupted", "interrupted by the user")
                    files.release(records.record_path(folder, child.job.identity), folder)
            raise
    return counts


def _goes_on(child: Child) -> bool:
    return child.status is None and not child.stopped


def _next(waiting: list[Job], limits: Limits) -> int | None:
    """Return the place of the run that may start next, None where there is none."""
    if limits.budget:
        return limits.budget.next(waiting, time.monotonic())
    return 0 if waiting else None


def _start(
    job: Job, folder: Path, limits: Limits, place: Place, events: queue.Queue[tuple[int, dict[str, Any]]]
) -> Child:
    identity = job.identity
    log = folder / "logs" / identity.experiment / f"{identity.name}.log"
    order = {
        "identity": dataclasses.asdict(identity),
        "folder": str(folder),
        "device": limits.device,
        "threads": place.threads,
        "share": place.share,
        "overlaps": place.overlaps,
        "place": place.described(),
        "parent": os.getpid(),
        "memory_limit": limits.memory,
    }
    threads_of = settings(place.threads, os.environ)
    files.reserve(records.record_path(folder, identity), RESERVED, folder)
    printed = Log(files.create(log, folder))
    process = subprocess.Popen(
        [*python(), "-m", "bench.execution.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=printed.writer,
        text=True,
        errors="replace",
        start_new_session=True,
        env=os.environ | QUIET_ENVIRONMENT | DETERMINISTIC | threads_of | mark(folder, identity.id),
    )
    printed.begin()
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
    threading.Thread(target=_listen, args=(process, events), daemon=True).start()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    deadline = time.monotonic() + IMPORT_LIMIT
    known = {"threads": place.threads} | place.described() | unfinished()
    return Child(job, process, log, printed, limits.device, IMPORT_LIMIT, deadline, started, place, known)


def _listen(process: subprocess.Popen[str], events: queue.Queue[tuple[int, dict[str, Any]]]) -> None:
    assert process.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError), process:  # it may have died without reading its order
            for line in process.stdout:
                with contextlib.suppress(json.JSONDecodeError):
                    events.put((process.pid, json.loads(line)))
    finally:  # without this event the parent would wait for ever
        events.put((process.pid, {"event": "exit", "code": process.wait()}))


def _handle(
    child: Child, event: dict[str, Any], folder: Path, limits: Limits, listener: Listener
) -> str | None:
    """Act on one event of a child; return its status once its process is gone."""
    kind = event["event"]
    if kind == "ready":
        own = child.job.experiment.time_limit(child.job.identity.tier)
        child.limit = own if limits.timeout is None else limits.timeout
        child.deadline = time.monotonic() + child.limit
        child.environment = event["environment"]
        child.load = Load(child.place.jobs, child.place.overlaps, session=child.process.pid)
    elif kind == "progress":
        listener(child.job, event)
    elif kind == "unwritable":
        raise Unwritable(event["message"])
    elif kind == "end":
        child.status = event["status"]
        child.deadline = time.monotonic() + 10.0
        listener(child.job, event)
    elif kind == "exit":
        _end(child, folder)  # what it started and did not wait for
        child.printed.end()
        if child.status is None:
            child.status, message = _post_mortem(child, event["code"])
            path = _write_end(child, folder, child.status, message)
            end = {"event": "end", "status": child.status, "message": message, "path": str(path)}
            listener(child.job, end)
        files.release(records.record_path(folder, child.job.identity), folder)
        return child.status
    return None


def _post_mortem(child: Child, code: int) -> tuple[str, str]:
    """Say what ended a process that wrote no record itself."""
    if child.stopped:
        return "interrupted", ENDED
    if code == -signal.SIGKILL and time.monotonic() > child.deadline:
        return "timeout", f"ended at its time limit of {child.limit:g} s"
    if code == -signal.SIGKILL:
        return "oom", "killed by the system, most likely for want of memory"
    text = child.log.read_text(errors="replace")
    lines = [line for line in text.splitlines() if line and not line[0].isspace()]
    return "error", f"process ended with code {code}: {lines[-1][:LONGEST] if lines else 'no message'}"


def _end(child: Child, folder: Path) -> None:
    """End the processes of a run, those that have left its session too."""
    end_group(child.process.pid)
    end_leftovers(folder, child.job.identity.id)


def _kill(child: Child, folder: Path) -> None:
    """End a child, having seen what else ran meanwhile."""
    if child.load:
        child.environment |= child.load.end()
        child.load = None
    _end(child, folder)


def _write_end(child: Child, folder: Path, status: str, message: str) -> Path:
    """Record the end of a process that could not do so."""
    identity = child.job.identity
    ended = Record(identity, status, message, environment=child.environment, started=child.started)
    ended.command = command(identity, child.device)
    ended.duration_s = time.monotonic() - child.begun
    if any(checkpoint_paths(folder, identity)):
        ended.duration_s += records.spent_before(folder, identity)
    return records.write(folder, ended)


def record_lost(jobs: Sequence[Job], absent: Mapping[str, Unavailable], folder: Path) -> int:
    """Record the end of the jobs whose data can not be read although it should be, and return how many there are."""
    lost = 0
    for job in jobs:
        reasons = [absent[n].reason for n in job.data_sets if n in absent and not absent[n].expected]
        if reasons:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            ended = Record(job.identity, "error", "; ".join(reasons), started=now)
            records.write(folder, ended)
            lost += 1
    return lost
