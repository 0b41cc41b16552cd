"""The child process of one run: seed, measure, run, write one record."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import record as records
from bench.errors import RunFailure, Unwritable
from bench.execution.compact import compact
from bench.execution.cores import pin, wait_policy
from bench.execution.processes import at_most, end_with
from bench.execution.run import Run, send
from bench.experiment import Experiment
from bench.identity import Identity
from bench.measure.load import Load
from bench.record import Record
from bench.registry import registry, resolve
from bench.schema import STATUSES

LONGEST = 1000
"""Characters of a message that are kept."""


def seed_libraries(run: Run, threads: int) -> None:
    """Fix thread count, determinism on CUDA, and the global generators (for library code that takes none)."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(run.seed("library"))
    np.random.seed(run.seed("library") % 2**32)  # noqa: NPY002 - for libraries that draw from the global state
    if run.device.startswith("cuda"):
        torch.use_deterministic_algorithms(True, warn_only=True)


def classify(error: BaseException) -> tuple[str, str]:
    """Return the record's status and one-line message for what ended a run."""
    if (status := getattr(error, "status", None)) in STATUSES:  # a `RunFailure`, or any library's like it
        return status, str(error)[:LONGEST]
    text = f"{type(error).__name__}: {error}".splitlines()[0][:LONGEST]
    memory_words = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
    if isinstance(error, MemoryError) or any(w in str(error).lower() for w in memory_words):
        return "oom", text
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", "interrupted"
    return "error", text


def perform(
    run: Run, experiment: Experiment, environment: dict[str, Any], load: Load | None = None
) -> Record:
    """Run an experiment's function and return its record, whatever the end was; it says what `load` saw meanwhile.

    Raises:
        Unwritable: the output folder is read-only or full.
    """
    identity, started, clock = run.identity, datetime.now(UTC), time.perf_counter()
    config = experiment.configure(identity.variant, identity.tier, identity.overrides)
    result = Record(identity, "done", environment=environment, command=command(identity, run.device))
    try:
        resolve(experiment.run)(run, config)
        _refuse_not_finite(run)
    except Unwritable:
        raise
    except BaseException as error:
        result.status, result.message = classify(error)
        result.last_t, result.nfe = getattr(error, "last_t", None), getattr(error, "nfe", None)
        if result.status == "error":
            traceback.print_exc(file=sys.stderr)
    result.metrics, result.resumed = run.metrics, run.resumed
    result.curves = {key: compact(curve) for key, curve in run.curves.items()}
    result.notes = run.notes
    result.artifacts = {key: records.describe(array) for key, array in run.artifacts.items()}
    result.started = started.isoformat(timespec="seconds")
    before = records.spent_before(run.folder, identity) if run.resumed else 0.0
    result.duration_s = time.perf_counter() - clock + before
    result.environment = environment | (load.end() if load else {})
    return result


def _refuse_not_finite(run: Run) -> None:
    import math

    bad = [key for key, measured in run.metrics.items() if not math.isfinite(measured.value)]
    if bad:
        raise RunFailure("diverged", f"not finite: {', '.join(bad)}")


def keep(run: Run, result: Record) -> Path:
    """Write a run's arrays and model, then its record, below its folder; return where the record is.

    Of a run that loses against a settled record only the record is kept, beside the settled one.

    Raises:
        Unwritable: the folder is read-only or full.
    """
    if not records.loses(run.folder, result):
        if run.artifacts:
            records.write_arrays(run.folder, run.identity, run.artifacts)
        run.write_model()
    return records.write(run.folder, result)


def command(identity: Identity, device: str) -> str:
    """Return the command line that repeats a run."""
    target = shlex.quote(f"{identity.experiment}/{identity.variant}")
    line = f"cnf-bench run {target} --tier {identity.tier} --seed {identity.seed}"
    if device != "cpu":
        line += f" --device {device}"
    for key, value in sorted(identity.overrides.items()):
        line += " --set " + shlex.quote(f"{key}={json.dumps(value)}")
    return line


def _end_with_parent() -> None:
    """End this process as soon as the parent's end of standard input closes, however the parent died."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _limit_memory(limit: int | None) -> None:
    """Let this process map so many bytes more than it has now."""
    if limit is not None:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        at_most(resource.RLIMIT_AS, pages * resource.getpagesize() + limit)


def main() -> None:
    """Read one job as a line of JSON from standard input, run it, write its record."""
    job = json.loads(sys.stdin.readline())
    events = os.fdopen(os.dup(1), "w")  # whatever else prints, in any language, goes to the log
    os.dup2(2, 1)
    end_with(job["parent"])
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    identity = Identity(**job["identity"])
    affinity = pin(job["share"])
    experiment = registry()[identity.experiment]
    from bench.measure.environment import environment

    resolve(experiment.run)  # the parent's clock starts once the imports are done
    run = Run(identity, Path(job["folder"]), job["device"], events)
    seed_libraries(run, job["threads"])
    load = Load(job["place"]["jobs"], job["overlaps"])
    placed = {"affinity": affinity, "wait_policy": wait_policy(os.environ)}
    surroundings = environment(run.device) | job["place"] | placed | load.begun()
    send(events, {"event": "ready", "environment": surroundings})
    _limit_memory(job["memory_limit"])
    try:
        result = perform(run, experiment, surroundings, load)
        path = keep(run, result)
    except Unwritable as error:
        send(events, {"event": "unwritable", "message": str(error)})
        sys.exit(2)
    if result.status in records.SETTLED:
        run.forget()
    send(events, {"event": "end", "status": result.status, "message": result.message, "path": str(path)})


if __name__ == "__main__":
    main()
