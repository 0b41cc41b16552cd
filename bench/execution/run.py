"""What an experiment's function is given: random streams, data, and where its results go."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import files
from bench.errors import UserError
from bench.execution.origin import is_sealed, opened, origin, sealed
from bench.identity import Identity
from bench.metrics.catalogue import metric as catalogued
from bench.metrics.catalogue import split_key
from bench.record import Curve, Measured

if TYPE_CHECKING:
    import numpy as np
    import torch


LARGEST = 2**34
"""Bytes that a state may have."""


class Run:
    """What an experiment's function is given: its seeds, its data, and where its results go."""

    def __init__(self, identity: Identity, folder: Path, device: str = "cpu", events: Any = None) -> None:
        self.identity = identity
        self.folder = folder
        self.device = device
        self.metrics: dict[str, Measured] = {}
        self.curves: dict[str, Curve] = {}
        self.artifacts: dict[str, np.ndarray[Any, Any]] = {}
        self.resumed = 0
        self.notes: list[str] = []
        self._model: bytes | None = None
        self._saved: set[str] = set()
        self._asked: set[Path] = set()
        self._events = events
        self._last_event = 0.0

    # -- randomness -----------------------------------------------------------------------------------------

    def seed(self, stream: str) -> int:
        """Return the 63-bit seed of a named random stream: the same for every method and setting on the same data."""
        return self.identity.stream_seed(stream)

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
        """Record a series, y against x; the record keeps what `bench.execution.compact` says."""
        self.curves[key] = Curve(tuple(map(float, x)), tuple(map(float, y)), x_label, y_label)

    def artifact(self, key: str, array: Any) -> None:
        """Keep an array beside the record: a picture, a density, samples.

        Args:
            key: its name.
            array: of numpy or torch, or nested lists of numbers.
        """
        import numpy as np

        on_host = array.detach().cpu() if hasattr(array, "detach") else array
        self.artifacts[key] = np.ascontiguousarray(on_host)

    def save_model(self, builder: str, arguments: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Keep the trained model for `bench.load`; it is written with the record.

        Args:
            builder: `module:function` that rebuilds the untrained model from the arguments; one that a paper declares
                in its BUILDERS.
            arguments: keyword arguments, plain values and lists of them.
            state: the model's `state_dict()`.

        Raises:
            UserError: the builder is not declared, or an argument is no plain value.
        """
        from bench.models import packed

        self._model = packed(self.identity, builder, arguments, state)

    def write_model(self) -> None:
        """Write the model that the run keeps, where it keeps one."""
        from bench.models import model_path

        if self._model is not None:
            files.write(model_path(self.folder, self.identity), self._model, self.folder)

    # -- state ----------------------------------------------------------------------------------------------

    def checkpoint(self, phase: str) -> Path:
        """Return where the state of one of the run's trainings lies until the run has ended."""
        return checkpoint_path(self.folder, self.identity, phase)

    @property
    def key(self) -> str:
        """What a state must have been saved for: the id of the run."""
        return self.identity.id

    def load_state(self, phase: str) -> bytes | None:
        """Return the state that one of the run's trainings saved last, None where there is none.

        Where any of the run's states is damaged, or other sources, another torch or another kind of device made it, the
        run starts afresh, and its record says so: no run mixes two implementations.
        """
        path = self.checkpoint(phase)
        self._asked.add(path)
        if not path.is_file() or (phase not in self._saved and not self._states_fit):
            return None
        return opened(files.read(path, LARGEST), self._origin)

    def save_state(self, phase: str, state: bytes) -> None:
        """Keep the state of one of the run's trainings in place of its last one."""
        self._asked.add(self.checkpoint(phase))
        files.write(self.checkpoint(phase), sealed(state, self._origin), self.folder)
        self._saved.add(phase)

    @property
    def _origin(self) -> dict[str, str]:
        return origin(self.key, self.device)

    @cached_property
    def _states_fit(self) -> bool:
        """Whether all that the run's trainings left can be gone on with."""
        for path in checkpoint_paths(self.folder, self.identity):
            try:
                opened(files.read(path, LARGEST), self._origin)
            except (ValueError, UserError) as error:
                self.note(f"the state {path.name} {error}; the run started afresh")
                return False
        return True

    def note(self, text: str) -> None:
        """Let the record tell something that happened on the way."""
        print(text, file=sys.stderr)
        self.notes.append(text)

    def synchronize(self) -> None:
        """Wait until the run's device has finished what it was given."""
        from bench.measure.clock import synchronize

        synchronize(self.device)

    def forget(self) -> None:
        """Remove the state of every training of this run; what somebody else gave the name of one stays."""
        for path in checkpoint_paths(self.folder, self.identity):
            if path in self._asked or is_sealed(path):
                files.remove(path, self.folder)

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Tell the parent how far the run is; cheap enough to call at every iteration."""
        now = time.monotonic()
        if self._events is not None and (now - self._last_event > 0.2 or done >= total):
            self._last_event = now
            send(self._events, {"event": "progress", "done": done, "total": total, "note": note})


def checkpoint_path(folder: Path, identity: Identity, phase: str) -> Path:
    """Return where the state of one of a run's trainings lies below an output folder."""
    return folder / "checkpoints" / identity.experiment / f"{identity.name}.{phase}.pt"


def checkpoint_paths(folder: Path, identity: Identity) -> list[Path]:
    """Return where the states are that a run's trainings left, in order."""
    every = checkpoint_path(folder, identity, "*")
    return sorted(every.parent.glob(every.name))


def send(stream: Any, event: Mapping[str, Any]) -> None:
    """Tell the parent of an event, as a line of JSON."""
    stream.write(json.dumps(event) + "\n")
    stream.flush()
