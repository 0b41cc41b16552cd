"""The record of a run: written whole, read and queried; arrays lie beside it, hashed.

A settled record is only ever replaced by a settled one: what would replace it otherwise is kept beside it, as is what
could not be read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import files, schema
from bench.errors import UserError
from bench.identity import Identity, digest, is_current
from bench.schema import SCHEMA, Fault

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

SETTLED = frozenset({"done", "diverged", "underflow", "nfe-budget"})
"""Statuses that a re-run would only repeat; the others are tried again."""

LOSER, DAMAGED = ".loser", ".damaged"
"""What follows the name of a record's file that stands beside the one that counts; readers leave it out."""


class OldRecord(UserError):
    """A record of an earlier schema: nothing is wrong with it but its age."""


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
    """Everything a run leaves behind. A failure keeps its message, the last t and the NFE.

    `duration_s` is that of all parts of a run that was interrupted and went on.
    """

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
    notes: list[str] = field(default_factory=list)
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
        from bench.arrays import read_npz

        if key not in self.artifacts or self.path is None:
            raise UserError(f"run {self.identity.label} has no array {key!r}")
        path = artifact_path(self.path.parent.parent.parent, self.identity)
        found = read_npz(path).get(key)
        if found is None or describe(found) != self.artifacts[key]:
            raise UserError(f"array {key!r} of {path} is not the recorded one; run it again")
        return found

    def to_json(self) -> str:
        """Return the record as JSON text with its checksum.

        A number that is not finite is written as null, a text as far as a reader takes it, a list of numbers on one
        line.
        """
        body = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "path"}
        body |= {
            "identity": dataclasses.asdict(self.identity),
            "metrics": {k: dataclasses.asdict(m) for k, m in self.metrics.items()},
            "curves": {k: dataclasses.asdict(c) for k, c in self.curves.items()},
            "artifacts": {k: dataclasses.asdict(a) for k, a in self.artifacts.items()},
        }
        tree = _readable({"schema": SCHEMA, "id": self.identity.id} | body)
        text = json.dumps(tree | {"sha256": digest(tree)}, indent=1, allow_nan=False) + "\n"
        return _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text)


_NUMBERS = re.compile(r'\[\n([^"\[\]{}]*)\]')
"""A list without texts, lists or objects in it; within a text no line ends."""


def _readable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):  # half a surrogate pair is no character
        return value[: schema.LONGEST].encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_readable(k): _readable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(v) for v in value]
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
    files.write(artifact_path(folder, identity), buffer.getvalue(), folder)


def loses(folder: Path, record: Record) -> bool:
    """Whether a run has a settled record already, and this one is none."""
    if record.status in SETTLED:
        return False
    try:
        return read(record_path(folder, record.identity)).status in SETTLED
    except UserError:
        return False


def spent_before(folder: Path, identity: Identity) -> float:
    """Return the seconds that the earlier, unfinished parts of a run took, as the record of the last of them says."""
    try:
        last = read(record_path(folder, identity))
    except UserError:
        return 0.0
    return 0.0 if last.status in SETTLED else last.duration_s


def write(folder: Path, record: Record) -> Path:
    """Write a record below an output folder, by atomic rename, and return where it is.

    One that `loses` is written beside the settled one; a file in its place that is no record of this run is kept too.

    Raises:
        Unwritable: the folder is read-only or full, or a link is in the way.
    """
    reserved = path = record_path(folder, record.identity)
    if loses(folder, record):
        path = path.with_name(path.name + LOSER)
    elif os.path.lexists(path):
        try:
            read(path)
        except UserError:
            files.move(path, folder, free(path.with_name(path.name + DAMAGED)), folder)
    files.write(path, record.to_json(), folder, reserved)
    return path


def free(path: Path) -> Path:
    """Return a path, with a number at its end where something has this name."""
    count, tried = 1, path
    while os.path.lexists(tried):
        count += 1
        tried = path.with_name(f"{path.name}.{count}")
    return tried


def read(path: Path) -> Record:
    """Read one record.

    Raises:
        UserError: the file is missing, malformed, of another schema, or lies under another run's name.
    """
    try:
        return _from_tree(schema.parse(files.read(path, schema.LARGEST)), path)
    except Fault as error:
        raise UserError(f"record {path} is malformed ({error}); delete it and run again") from error


def _from_tree(tree: Any, path: Path) -> Record:
    found = tree.get("schema") if isinstance(tree, dict) else None
    if found == 1:
        raise OldRecord(f"record {path} is of schema 1; run `cnf-bench migrate <folder>` once")
    if found != SCHEMA or isinstance(found, bool):
        raise Fault("schema", f"it is {found!r:.60}, this version reads {SCHEMA}")
    schema.check(tree)
    body = {key: value for key, value in tree.items() if key != "sha256"}
    if tree.get("sha256") not in (None, digest(body)):
        raise Fault("sha256", "it is not that of the content")
    del body["schema"], body["id"]
    identity = Identity(**body.pop("identity"))
    if identity.id != tree["id"]:
        raise Fault("id", "it is not that of the content")
    place = path.absolute()
    own = f"{identity.experiment}/{identity.name}.json"
    if f"{place.parent.name}/{place.name.removesuffix(LOSER)}" != own:
        raise Fault("", f"it lies under another name than its own, {own}")
    metrics, curves, artifacts = (body.pop(part) for part in ("metrics", "curves", "artifacts"))
    record = Record(identity, **body, path=path)
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


def record_files(folder: Path, bad: list[str]) -> list[Path]:
    """Return what lies in the place of a record below an output folder.

    Args:
        folder: where to look.
        bad: receives a line for each folder that can not be read.
    """
    inner = [path for place in files.listed(records_root(folder), bad) for path in files.listed(place, bad)]
    return [path for path in inner if path.name.endswith(".json")]


@dataclass
class Found:
    """What is below some folders.

    Args:
        records: one for each run of today, and every record that is not current.
        bad: a line for each file in a record's place that is none, and each folder that can not be read.
        hidden: (the record shown, another of the same run and the same random streams that is not).
        superseded: records with the random streams of schema 1 whose run has a settled one with today's; they
            contradict nothing.
    """

    records: list[Record]
    bad: list[str]
    hidden: list[tuple[Record, Record]]
    superseded: list[Record] = field(default_factory=list)


def find(folders: Iterable[Path]) -> Found:
    """Return the records below some output folders; what can not be read stops none of the others.

    Of several records of what is one run today the first of these is shown: a settled one; one with today's random
    streams; one that ran alone; one of the earlier folder; the one that was started last.

    Raises:
        UserError: a folder is missing.
    """
    by_run: dict[object, list[tuple[tuple[Any, ...], Record]]] = {}
    bad: list[str] = []
    stale: set[object] = set()
    for place, folder in enumerate(folders):
        if not folder.is_dir():
            raise UserError(f"no folder {folder}; give a folder that `cnf-bench run --out` wrote")
        for path in record_files(folder, bad):
            try:
                record = read(path)
            except UserError as error:
                bad.append(str(error))
                continue
            i = record.identity
            settled, alone = record.status in SETTLED, record.shared is None
            rank = (settled, i.renewed, alone, -place, record.started)
            key: object = i.run
            if not is_current(i):
                key = i.id
                stale.add(key)
            by_run.setdefault(key, []).append((rank, record))
    shown = {key: max(group, key=lambda each: each[0])[1] for key, group in by_run.items()}
    others = [
        (shown[key], r)
        for key, group in by_run.items()
        if key not in stale
        for _, r in group
        if r is not shown[key]
    ]
    hidden = [(s, r) for s, r in others if s.identity.renewed == r.identity.renewed]
    superseded = [r for s, r in others if s.identity.renewed and not r.identity.renewed]
    return Found(list(shown.values()), bad, hidden, superseded)


def read_all(folders: Iterable[Path]) -> list[Record]:
    """Return the records below some output folders, as `find` does.

    Raises:
        UserError: a folder is missing or a record is malformed.
    """
    found = find(folders)
    if found.bad:
        raise UserError(found.bad[0])
    return found.records
