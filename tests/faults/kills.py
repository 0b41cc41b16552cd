"""Rounds of kills: some calls on one folder, a signal to one of their processes at a random moment, then once more."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Sequence
from functools import partial, update_wrapper
from pathlib import Path
from typing import Any

from bench.record import find, read
from faults.box import Box, Listed, processes, records

SIGNALS = (
    signal.SIGKILL,
    signal.SIGKILL,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGSTOP,
    signal.SIGSEGV,
)
LONGEST = 6.0
"""Seconds after which the signal comes at the latest."""
RUNS = (
    "run",
    "fake.act/plain",
    "fake.act/starts",
    "fake.train",
    "--tier",
    "cpu",
    "--seed",
    "0",
    "--jobs",
    "2",
)


def rounds(count: int, parents: Sequence[int]) -> list[Listed]:
    """Return so many rounds, the number of calls on one folder in turn; a round is the same for the same number."""
    found = []
    for i in range(count):
        play = partial(a_round, number=i, parents=parents[i % len(parents)])
        update_wrapper(play, a_round)
        play.__name__ = f"kill_{i}"
        play.__doc__ = f"Round {i}: {parents[i % len(parents)]} calls, a signal at a random moment, once more"
        found.append(Listed("kills", play))
    return found


def a_round(box: Box, number: int, parents: int) -> None:
    """Kill once, repeat, compare with runs in one piece."""
    rng = random.Random(number)
    folder = box.folder / "out"
    calls = [box.start(*RUNS, "--out", folder) for _ in range(parents)]
    time.sleep(rng.uniform(0.1, LONGEST))
    before = {path: path.read_bytes() for path in records(folder) if read(path).status == "done"}
    sign, victim = rng.choice(SIGNALS), rng.choice([p.pid for p in calls] + processes(box.folder))
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, sign)
    if sign == signal.SIGSTOP:
        time.sleep(0.5)
        for process in calls:
            process.kill()
    for process in calls:
        ended = box.finish(process, 60)
        box.check("Traceback" not in ended.err, f"traceback: {ended.err[-300:]}", "unclear")
    ended = box.call(*RUNS, "--out", folder, code=(0, 3))
    box.check(
        all(p.exists() and p.read_bytes() == was for p, was in before.items()), "a record is lost", "lost"
    )
    _compare(box, folder, f"{sign.name} to {victim}")


def _compare(box: Box, folder: Path, what: str) -> None:
    """Count what is not as in runs in one piece."""
    found = find([folder])
    box.check(not found.bad, f"{what}: {found.bad}", "lost")
    box.check(len(found.records) == 3, f"{what}: {len(found.records)} records of 3", "lost")
    drafts = [p.name for p in folder.rglob(".*.part")]
    box.check(not drafts, f"{what}: drafts are left: {drafts}")
    for record in found.records:
        if record.status == "done":
            values = _values(record)
            known = _reference(box, record.identity.experiment, record.identity.variant)
            box.check(values == known, f"{what}: {record.identity.label}: {values}, not {known}")
        else:
            box.check(
                record.status in ("oom", "error"), f"{what}: {record.identity.label} is {record.status}"
            )


def _values(record: Any) -> dict[str, float]:
    return {key: m.value for key, m in record.metrics.items() if "time" not in key}


def _reference(box: Box, experiment: str, variant: str) -> dict[str, float]:
    """Return what the run gives in one piece; the run with others in it is that of the same seed."""
    (path,) = (box.good.parent / "reference" / "records" / experiment).glob(f"{variant}.cpu.s0.*.json")
    return _values(read(path))
