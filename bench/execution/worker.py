"""The child process of one run: seed, measure, run, write one record."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import record as records
from bench.errors import RunFailure, Unwritable
from bench.experiment import Experiment, registry, resolve
from bench.metrics.catalogue import metric as catalogued
from bench.metrics.catalogue import split_key
from bench.record import Curve, Identity, Measured, Record

if TYPE_CHECKING:
    import numpy as np
    import torch


class Run:
    """What an experiment's function is given: its seeds, its data, and where its results go."""

    def __init__(self, identity: Identity, folder: Path, device: str = "cpu", events: Any = None) -> None:
        self.identity = identity
        self.folder = folder
        self.device = device
        self.metrics: dict[str, Measured] = {}
        self.curves: dict[str, Curve] = {}
        self.resumed = 0
        self._events = events
        self._last_event = 0.0

    # -- randomness -----------------------------------------------------------------------------------------

    def seed(self, stream: str) -> int:
        """Return the 63-bit seed of a named random stream; the same for every variant of an experiment."""
        content = f"{self.identity.pairing}/{stream}".encode()
        return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 1

    def torch_generator(self, stream: str, device: str = "cpu") -> torch.Generator:
        """Return the named random stream as a `torch.Generator`."""
        import torch

        return torch.Generator(device).manual_seed(self.seed(stream))

    def numpy_generator(self, stream: str) -> np.random.Generator:
        """Return the named random stream as a `numpy.random.Generator`."""
        import numpy as np

        return np.random.default_rng(self.seed(stream))

    # -- results --------------------------------------------------------------------------------------------

    def metric(
        self, key: str, value: float, protocol: str, n: int | None = None, se: float | None = None
    ) -> None:
        """Record a number under `name` or `name[qualifier]`; unit and direction come from the catalogue.

        Args:
            key: catalogue name, with an optional qualifier.
            value: in the catalogue's unit.
            protocol: how it was computed; numbers of two protocols never share a column.
            n: sample count behind the number.
            se: its standard error.
        """
        self.metrics[key] = Measured(float(value), catalogued(split_key(key)[0]).unit, protocol, n, se)

    def curve(
        self, key: str, x: Iterable[float], y: Iterable[float], x_label: str = "", y_label: str = ""
    ) -> None:
        """Record a series, y against x (at most some hundred points)."""
        self.curves[key] = Curve(tuple(map(float, x)), tuple(map(float, y)), x_label, y_label)

    def save_model(self, builder: str, arguments: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Keep the trained model for `bench.load`.

        Args:
            builder: `module:function` that rebuilds the untrained model from the arguments.
            arguments: JSON-able keyword arguments.
            state: the model's `state_dict()`.
        """
        from bench.models import save_model

        save_model(self.folder, self.identity, builder, arguments, state)

    # -- state ----------------------------------------------------------------------------------------------

    def checkpoint(self, phase: str) -> Path:
        """Return where the state of one of the run's trainings lies until the run has ended."""
        return self.folder / "checkpoints" / self.identity.experiment / f"{self.identity.name}.{phase}.pt"

    @property
    def key(self) -> str:
        """What a state must have been saved for: the id of the run."""
        return self.identity.id

    def load_state(self, phase: str) -> bytes | None:
        """Return the state that one of the run's trainings saved last, None where there is none."""
        path = self.checkpoint(phase)
        return path.read_bytes() if path.is_file() else None

    def save_state(self, phase: str, state: bytes) -> None:
        """Keep the state of one of the run's trainings in place of its last one."""
        records.write_atomically(self.checkpoint(phase), state)

    def synchronize(self) -> None:
        """Wait until the run's device has finished what it was given."""
        from bench.measure.clock import synchronize

        synchronize(self.device)

    def forget(self) -> None:
        """Remove the state of every training of this run."""
        every = self.checkpoint("*")
        for path in every.parent.glob(every.name):
            path.unlink(missing_ok=True)

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Tell the parent how far the run is; cheap enough to call at every iteration."""
        now = time.monotonic()
        if self._events is not None and (now - self._last_event > 0.2 or done >= total):
            self._last_event = now
            _send(self._events, {"event": "progress", "done": done, "total": total, "note": note})


def _send(stream: Any, event: Mapping[str, Any]) -> None:
    stream.write(json.dumps(event) + "\n")
    stream.flush()


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
    if (
        status := getattr(error, "status", None)
    ) in records.STATUSES:  # a `RunFailure`, or any library's like it
        return status, str(error)
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    memory_words = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
    if isinstance(error, MemoryError) or any(w in str(error).lower() for w in memory_words):
        return "oom", text
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", "interrupted"
    return "error", text


def perform(run: Run, experiment: Experiment, environment: dict[str, Any]) -> Record:
    """Run an experiment's function and return its record, whatever the end was.

    Raises:
        Unwritable: the output folder is read-only or full.
    """
    identity, started, clock = run.identity, datetime.now(UTC), time.perf_counter()
    config = experiment.configure(identity.variant, identity.tier, _as_tuples(identity.config))
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
    result.metrics, result.curves, result.resumed = run.metrics, run.curves, run.resumed
    result.started = started.isoformat(timespec="seconds")
    result.duration_s = time.perf_counter() - clock
    return result


def _refuse_not_finite(run: Run) -> None:
    import math

    bad = [key for key, measured in run.metrics.items() if not math.isfinite(measured.value)]
    if bad:
        raise RunFailure("diverged", f"not finite: {', '.join(bad)}")


def _as_tuples(config: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}


def command(identity: Identity, device: str) -> str:
    """Return the command line that repeats a run; overridden settings are named, their file is not known."""
    target = shlex.quote(f"{identity.experiment}/{identity.variant}")
    line = f"cnf-bench run {target} --tier {identity.tier} --seed {identity.seed}"
    if device != "cpu":
        line += f" --device {device}"
    declared = registry()[identity.experiment]
    if records.identify(declared, identity.variant, identity.tier, identity.seed).id != identity.id:
        line += " --config <file with the config of this record>"
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
        allowed = pages * resource.getpagesize() + limit
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))


def main() -> None:
    """Read one job as a line of JSON from standard input, run it, write its record."""
    job = json.loads(sys.stdin.readline())
    events = os.fdopen(os.dup(1), "w")  # whatever else prints, in any language, goes to the log
    os.dup2(2, 1)
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tree = job["identity"]
    tree["method_fields"] = tuple(tree["method_fields"])
    identity = Identity(**tree)
    experiment = registry()[identity.experiment]
    from bench.measure.environment import environment

    resolve(experiment.run)  # the parent's clock starts once the imports are done
    run = Run(identity, Path(job["folder"]), job["device"], events)
    seed_libraries(run, job["threads"])
    surroundings = environment(run.device) | {"jobs": job["jobs"]}
    _send(events, {"event": "ready", "environment": surroundings})
    _limit_memory(job["memory_limit"])
    try:
        result = perform(run, experiment, surroundings)
        path = records.write(run.folder, result)
    except Unwritable as error:
        _send(events, {"event": "unwritable", "message": str(error)})
        sys.exit(2)
    if result.status in records.SETTLED:
        run.forget()
    _send(events, {"event": "end", "status": result.status, "message": result.message, "path": str(path)})


if __name__ == "__main__":
    main()
