"""The record of a run: identity, schema, atomic write, read and query."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.errors import Unwritable, UserError
from bench.experiment import Experiment

SCHEMA = 1
STATUSES = ("done", "diverged", "underflow", "nfe-budget", "timeout", "oom", "error", "interrupted")
SETTLED = frozenset({"done", "diverged", "underflow", "nfe-budget"})
"""Statuses that a re-run would only repeat; the others are tried again."""


def canonical(value: Any) -> str:
    """Return the canonical JSON of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, in hex."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


@dataclass(frozen=True)
class Identity:
    """What makes a run this run and no other."""

    experiment: str
    variant: str
    tier: str
    seed: int
    version: int
    config: Mapping[str, Any]
    data: Mapping[str, str]
    method_fields: tuple[str, ...] = ()

    @cached_property
    def id(self) -> str:
        """SHA-256 of the canonical JSON of everything above."""
        return digest(dataclasses.asdict(self))

    @property
    def name(self) -> str:
        """File stem: `<variant>.<tier>.s<seed>.<start of the id>`."""
        return f"{self.variant}.{self.tier}.s{self.seed}.{self.id[:10]}"

    @property
    def label(self) -> str:
        """`<experiment>/<variant> tier seed`, for people."""
        return f"{self.experiment}/{self.variant} {self.tier} seed {self.seed}"

    @cached_property
    def pairing(self) -> str:
        """SHA-256 of the part without the method; random streams derive from it, so methods are paired."""
        shared = {k: v for k, v in self.config.items() if k not in self.method_fields}
        return digest([self.experiment, self.tier, self.seed, self.version, shared, dict(self.data)])


def identify(
    experiment: Experiment, variant: str, tier: str, seed: int, overrides: Mapping[str, Any] | None = None
) -> Identity:
    """Return the identity of a run, from its declaration alone (no data is read).

    Raises:
        UserError: see `Experiment.configure`.
    """
    from bench.data import registry as data

    config = experiment.configure(variant, tier, overrides)
    sets = {name for f in experiment.data_fields if (name := getattr(config, f)) in data.names()}
    hashes = {path: sha for name in sorted(sets) for path, sha in data.get(name).hashes().items()}
    plain = json.loads(canonical(dataclasses.asdict(config)))
    fields = tuple(sorted(experiment.method_fields))
    return Identity(experiment.name, variant, tier, seed, experiment.version, plain, hashes, fields)


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

    def to_json(self) -> str:
        """Return the record as JSON text; a number that is not finite is written as null."""
        body = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "path"}
        body |= {
            "identity": dataclasses.asdict(self.identity),
            "metrics": {k: dataclasses.asdict(m) for k, m in self.metrics.items()},
            "curves": {k: dataclasses.asdict(c) for k, c in self.curves.items()},
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
    if schema != SCHEMA:
        raise ValueError(f"schema {schema}, this version reads {SCHEMA}")
    identity = body.pop("identity")
    identity["method_fields"] = tuple(identity["method_fields"])
    metrics, curves = body.pop("metrics"), body.pop("curves")
    record = Record(Identity(**identity), **body, path=path)
    if record.identity.id != written_id:
        raise ValueError("id and content differ")
    if record.status not in STATUSES:
        raise ValueError(f"unknown status {record.status!r}")
    if not isinstance(record.environment, dict) or not isinstance(record.duration_s, int | float):
        raise TypeError("environment or duration_s is of another type")
    record.metrics = {k: Measured(**(m | {"value": _number(m["value"])})) for k, m in metrics.items()}
    record.curves = {k: _curve(c) for k, c in curves.items()}
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
    """Yield every record below some output folders; where a run is in several, the first folder wins.

    Raises:
        UserError: a folder is missing or a record is malformed.
    """
    seen: set[str] = set()
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"no folder {folder}; give a folder that `cnf-bench run --out` wrote")
        for path in sorted(records_root(folder).glob("*/*.json")):
            record = read(path)
            if record.identity.id not in seen:
                seen.add(record.identity.id)
                yield record
