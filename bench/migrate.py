"""From records of schema 1 to today's: once for each folder.

What changes: the id no longer holds the fields that told variants apart, settings get today's names, pictures and
points become arrays beside the record. What was measured stays. The random streams of schema 1 can not be had again:
such a record says so in `seeded_by`, and its run counts as still to be renewed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import files, torch_files
from bench.errors import Unwritable, UserError
from bench.identity import Identity, digest, migrated
from bench.models import model_path, packed
from bench.record import (
    Curve,
    Measured,
    Record,
    describe,
    read,
    record_files,
    record_path,
    write,
    write_arrays,
)
from bench.registry import registry
from bench.schema import LARGEST, check, parse

Array = NDArray[Any]

POINTS = ({"x", "y"}, {"dx/dt", "dy/dt"})
"""Labels of the axes of curves that were points."""
LEVELS, EACH = 16, 13
"""A number of a packed picture held so many pixels of so many levels each."""


class Migrated(NamedTuple):
    """How many records were rewritten, and a line for each that could not be."""

    done: int
    bad: list[str]


def migrate_folder(folder: Path) -> Migrated:
    """Rewrite every record of schema 1 below a folder; a second call finds none, and ends what one that was cut began.

    Raises:
        UserError: no such folder, or it can not be written.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; give a folder that `cnf-bench run --out` wrote")
    done = 0
    bad: list[str] = []
    for path in record_files(folder, bad):
        try:
            done += _migrate_file(folder, path)
        except Unwritable:
            raise
        except Exception as error:  # a malformed record can fail in any way, and stops no other
            fault = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            bad.append(f"record {path} is malformed ({' '.join(fault.split())[:200]}); it stays as it is")
    return Migrated(done, bad)


def _migrate_file(folder: Path, path: Path) -> bool:
    """Rewrite one record and tell whether it was of schema 1."""
    tree = parse(files.read(path, LARGEST))
    if tree["schema"] != 1:
        return False
    record, arrays = migrate(tree)
    check(parse(record.to_json().encode()))
    place = record_path(folder, record.identity)
    if not place.exists():
        if arrays:
            write_arrays(folder, record.identity, arrays)
        write(folder, record)
    elif read(place).to_json() != record.to_json():  # else a call that was cut in the middle wrote it
        raise UserError("there is another record of today's schema of the same run")
    _rename_model(folder, path, record.identity)
    files.remove(path, folder)
    return True


def migrate(tree: Mapping[str, Any]) -> tuple[Record, dict[str, Array]]:
    """Return the record, and the arrays beside it, that a record of schema 1 becomes."""
    body = {key: value for key, value in tree.items() if key not in ("schema", "id")}
    identity = _identity(body.pop("identity"))
    metrics = {
        key: Measured(**(m | {"value": _number(m["value"])})) for key, m in body.pop("metrics").items()
    }
    curves: dict[str, Curve] = {}
    arrays: dict[str, Array] = {}
    for key, c in body.pop("curves").items():
        x, y = (tuple(map(_number, c[axis])) for axis in "xy")
        array = _array(x, y, c["x_label"], c["y_label"])
        if array is None:
            curves[key] = Curve(x, y, c["x_label"], c["y_label"])
        else:
            arrays[key] = array
    artifacts = {key: describe(array) for key, array in arrays.items()}
    return Record(identity, **body, metrics=metrics, curves=curves, artifacts=artifacts), arrays


def _identity(old: Mapping[str, Any]) -> Identity:
    """Return today's identity of a run, settings under today's names where its experiment is still declared."""
    config, fields = old["config"], old["method_fields"]
    shared = {key: value for key, value in config.items() if key not in fields}
    run = old["experiment"], old["tier"], old["seed"], old["version"]
    pairing = digest([*run, shared, dict(old["data"])])
    experiment = registry().get(old["experiment"])
    if experiment is not None:
        today, gone = migrated(experiment, config)
        config = config if gone else today
    kept = {key: old[key] for key in ("experiment", "variant", "tier", "seed", "version", "data")}
    return Identity(**kept, config=config, seeded_by={"schema": 1, "pairing": pairing})


def _array(x: tuple[float, ...], y: tuple[float, ...], x_label: str, y_label: str) -> Array | None:
    """Return what a curve really was, None for a curve: a density, points, or pictures with values 0..255."""
    if x_label == "cell":
        side = math.isqrt(len(y))
        return np.array(y, dtype=np.float32).reshape(side, side)
    if {x_label, y_label} in POINTS:
        return np.stack([np.array(x), np.array(y)], 1).astype(np.float32)
    if y_label == f"{EACH} pixels of {LEVELS} levels each":
        return _unpacked(y, tuple(int(size) for size in x))
    if y_label.startswith("value of "):
        white = int(y_label.split()[-1]) - 1
        values = np.rint(np.array(y) * 255 / white).astype(np.uint8)
        return values.reshape([int(size) for size in x])
    return None


def _unpacked(numbers: tuple[float, ...], shape: tuple[int, ...]) -> Array:
    """Return packed pictures `(N, H, W)`: a number is the sum of v_k 16^k over 13 pixels of the levels v_k."""
    pixels = math.prod(shape[1:])
    places = LEVELS ** np.arange(EACH, dtype=np.int64)
    levels = np.array(numbers, dtype=np.int64)[:, None] // places % LEVELS
    pictures = levels.reshape(-1, -(-pixels // EACH) * EACH)[:, :pixels]
    return (pictures * (255 // (LEVELS - 1))).astype(np.uint8).reshape(shape)


def _rename_model(folder: Path, path: Path, identity: Identity) -> None:
    """Keep the trained model of a run reachable under its new name, with its new id."""
    model = folder / "models" / path.parent.name / f"{path.stem}.pt"
    if not model.is_file():
        return
    place = model_path(folder, identity)
    try:
        saved = torch_files.load(model)
        content = packed(identity, saved["builder"], saved["arguments"], saved["state"])
    except (UserError, TypeError, KeyError):  # it could not be loaded before either
        files.move(model, folder, place, folder)
        return
    files.write(place, content, folder)
    files.remove(model, folder)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
