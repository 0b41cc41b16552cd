"""The record of a run: schema, atomic write, read and query; arrays lie beside it, hashed."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import Unwritable, UserError
from bench.identity import Identity, is_current

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

SCHEMA = 2
STATUSES = ("done", "diverged", "underflow", "nfe-budget", "timeout", "oom", "error", "interrupted")
SETTLED = frozenset({"done", "diverged", "underflow", "nfe-budget"})
"""Statuses that a re-run would only repeat; the others are tried again."""


@dataclass(frozen=True)
class Measured:
    """One measured number: value, unit, protocol id (how it was computed), count, standard error."""

    value: float
    unit: str
    protocol: str
    n: int | None = None
    se: float | None = None


@dataclass(frozen=True)
class Curve:
    """One measured series, y against x."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    x_label: str = ""
    y_label: str = ""


@dataclass(frozen=True)
class Artifact:
    """An array beside the record: a picture, a density, samples."""

    shape: tuple[int, ...]
    dtype: str
    sha256: str


@dataclass
class Record:
    """Everything a run leaves behind. A failure keeps its message, the last t and the NFE."""

    identity: Identity
    status: str
    message: str | None = None
    last_t: float | None = None
    nfe: int | None = None
    metrics: dict[str, Measured] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    started: str = ""
    duration_s: float = 0.0
    resumed: int = 0
    path: Path | None = None

    def value(self, key: str) -> float | None:
        """Return a metric's value, None where the run did not measure it."""
        measured = self.metrics.get(key)
        return None if measured is None else measured.value

    @property
    def shared(self) -> str | None:
        """Why its times settle no claim: what it shared the machine with; None where it ran alone.

        A record that does not say so ran beside others where several ran at the same time, or where nothing is known.
        """
        if "shared" in self.environment:
            return self.environment["shared"] or None
        jobs = self.environment.get("jobs")
        if jobs == 1:
            return None
        return "it is not known what else ran" if jobs is None else f"{jobs} runs at the same time"

    def array(self, key: str) -> Array:
        """Return one of the run's arrays.

        Raises:
            UserError: there is none of that name, its file is missing or damaged, or it is not what was recorded.
        """
        import numpy as np

        if key not in self.artifacts or self.path is None:
            raise UserError(f"run {self.identity.label} has no array {key!r}")
        path = artifact_path(self.path.parent.parent.parent, self.identity)
        try:
            with np.load(path, allow_pickle=False) as stored:
                array: Array = stored[key]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"cannot read array {key!r} from {path}: {error}; run it again") from error
        if describe(array) != self.artifacts[key]:
            raise UserError(f"array {key!r} of {path} is not the recorded one; run it again")
        return array

    def to_json(self) -> str:
        """Return the record as JSON text; a number that is not finite is written as null."""
        body = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "path"}
        body |= {
            "identity": dataclasses.asdict(self.identity),
            "metrics": {k: dataclasses.asdict(m) for k, m in self.metrics.items()},
            "curves": {k: dataclasses.asdict(c) for k, c in self.curves.items()},
            "artifacts": {k: dataclasses.asdict(a) for k, a in self.artifacts.items()},
        }
        tree = _finite({"schema": SCHEMA, "id": self.identity.id} | body)
        return json.dumps(tree, indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def record_path(folder: Path, identity: Identity) -> Path:
    """Return where a run's record lies below an output folder."""
    return folder / "records" / identity.experiment / f"{identity.name}.json"


def artifact_path(folder: Path, identity: Identity) -> Path:
    """Return where a run's arrays lie below an output folder."""
    return folder / "artifacts" / identity.experiment / f"{identity.name}.npz"


def describe(array: Array) -> Artifact:
    """Return shape, type and the SHA-256 of shape, type and content of an array."""
    import numpy as np

    head = f"{array.dtype.str}{array.shape}".encode()
    sha = hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()
    return Artifact(tuple(array.shape), array.dtype.str, sha)


def write_arrays(folder: Path, identity: Identity, arrays: Mapping[str, Array]) -> None:
    """Write a run's arrays below an output folder, in one file of the same bytes each time."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(artifact_path(folder, identity), buffer.getvalue())


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old or the new content, never a part.

    Raises:
        Unwritable: the folder is read-only or full.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise Unwritable(
            f"cannot write {path}: {error.strerror}; free the space or choose another --out"
        ) from error


def write(folder: Path, record: Record) -> Path:
    """Write a record below an output folder, by atomic rename."""
    path = record_path(folder, record.identity)
    write_atomically(path, record.to_json())
    return path


def read(path: Path) -> Record:
    """Read one record.

    Raises:
        UserError: the file is missing, malformed, of another schema, or its id does not match its content.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read record {path}: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"record {path} is not valid JSON ({error}); delete it and run again") from error
    try:
        return _from_tree(tree, path)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"record {path} is malformed ({error!r}); delete it and run again") from error


def _from_tree(tree: dict[str, Any], path: Path) -> Record:
    body = dict(tree)
    schema, written_id = body.pop("schema"), body.pop("id")
    if schema == 1:
        raise UserError(f"record {path} is of schema 1; run `cnf-bench migrate <folder>` once")
    if schema != SCHEMA:
        raise ValueError(f"schema {schema}, this version reads {SCHEMA}")
    identity = Identity(**body.pop("identity"))
    metrics, curves, artifacts = (body.pop(part) for part in ("metrics", "curves", "artifacts"))
    record = Record(identity, **body, path=path)
    if record.identity.id != written_id:
        raise ValueError("id and content differ")
    if record.status not in STATUSES:
        raise ValueError(f"unknown status {record.status!r}")
    if not isinstance(record.environment, dict) or not isinstance(record.duration_s, int | float):
        raise TypeError("environment or duration_s is of another type")
    record.metrics = {k: Measured(**(m | {"value": _number(m["value"])})) for k, m in metrics.items()}
    record.curves = {k: _curve(c) for k, c in curves.items()}
    record.artifacts = {k: Artifact(tuple(a["shape"]), a["dtype"], a["sha256"]) for k, a in artifacts.items()}
    return record


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _curve(tree: dict[str, Any]) -> Curve:
    x, y = (tuple(map(_number, tree[axis])) for axis in "xy")
    return Curve(x, y, tree["x_label"], tree["y_label"])


def records_root(folder: Path) -> Path:
    """Return the folder of the records: `<folder>/records` where it exists, else the folder itself."""
    return folder / "records" if (folder / "records").is_dir() else folder


def read_all(folders: Iterable[Path]) -> Iterator[Record]:
    """Yield every record below some output folders.

    What is one run today comes once: from the first folder that has it, there the one that was started last, and one
    with today's random streams before one with others; but from a later folder where it ran to its end alone there
    and not in the ones before. Records that are not current come all.

    Raises:
        UserError: a folder is missing or a record is malformed.
    """
    chosen: dict[object, Record] = {}
    every: list[Record] = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"no folder {folder}; give a folder that `cnf-bench run --out` wrote")
        found = [read(path) for path in sorted(records_root(folder).glob("*/*.json"))]
        every += found
        newest: dict[object, Record] = {}
        for record in sorted(found, key=lambda r: ("task" in r.identity.seeded_by, r.started)):
            newest[record.identity.run if is_current(record.identity) else record.identity.id] = record
        for key, record in newest.items():
            if key not in chosen or _repeated_alone(record, chosen[key]):
                chosen[key] = record
    kept = {id(record) for record in chosen.values()}
    yield from (record for record in every if id(record) in kept)


def _repeated_alone(record: Record, earlier: Record) -> bool:
    return record.status in SETTLED and record.shared is None and earlier.shared is not None
