"""What a record on disk must be, checked before anything is made of it; limits of size, depth and digits.

| limit | value |
|---|---|
| size of the file | `LARGEST` bytes |
| digits of a whole number | `DIGITS` |
| nesting of settings and environment | `DEPTH` |
| length of a text | `LONGEST` characters |
| points of a curve | `POINTS` |
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from bench.errors import UserError
from bench.experiment import TIERS
from bench.metrics.catalogue import CATALOGUE, FORMER_UNITS, split_key

SCHEMA = 2
STATUSES = ("done", "diverged", "underflow", "nfe-budget", "timeout", "oom", "error", "interrupted")

LARGEST = 2**25
DIGITS = 20
DEPTH = 8
LONGEST = 100_000
POINTS = 100_000

_NAME = re.compile(r"[\w+-][\w.+-]*")
_DTYPE = re.compile(r"[<>|=][biufc]\d{1,2}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_IDENTITY = ("experiment", "variant", "tier", "seed", "version", "config", "data", "overrides", "seeded_by")
_RECORD = (
    "schema", "id", "identity", "status", "message", "last_t", "nfe", "metrics", "curves", "artifacts",
    "environment", "command", "started", "duration_s", "resumed",
)  # fmt: skip
_OPTIONAL = ("notes", "sha256")
"""Keys that records of this schema made earlier do not have."""


class Fault(ValueError):
    """What does not fit, with its place in the record."""

    def __init__(self, place: str, what: str) -> None:
        super().__init__(f"{place}: {what}" if place else what)


def parse(content: bytes) -> Any:
    """Return the JSON tree of a file.

    Raises:
        Fault: it is no JSON, or breaks a limit; a key that comes twice or a number that is not finite is none.
    """
    try:
        tree = json.loads(
            content.decode("utf-8"), object_pairs_hook=_once, parse_int=_whole, parse_constant=_refused
        )
        json.dumps(tree, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no character
    except Fault:
        raise
    except RecursionError as error:
        raise Fault("", "it is nested too deeply") from error
    except ValueError as error:
        raise Fault("", f"it is not valid JSON: {error}") from error
    return tree


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise Fault("", "a key comes twice")
    return tree


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise Fault("", f"a whole number has {len(digits)} digits, more than {DIGITS}")
    return int(digits)


def _refused(word: str) -> float:
    raise Fault("", f"{word} is no number of JSON")


def check(tree: Any) -> None:
    """Check the tree of a record of this schema.

    Raises:
        Fault: names the first place that does not fit.
    """
    keys(tree, "", _RECORD, _OPTIONAL)
    _identity(tree["identity"])
    one_of(tree["status"], "status", STATUSES)
    finished = tree["status"] == "done"
    for key in ("message", "last_t", "nfe"):
        if tree[key] is not None:
            {"message": text, "last_t": number, "nfe": count}[key](tree[key], key)
    _each(tree["metrics"], "metrics", lambda m, place: _metric(m, place, finished))
    _each(tree["curves"], "curves", _curve)
    _each(tree["artifacts"], "artifacts", _artifact)
    _environment(tree["environment"])
    text(tree["command"], "command")
    _time(tree["started"])
    if number(tree["duration_s"], "duration_s") < 0:
        raise Fault("duration_s", "it is negative")
    count(tree["resumed"], "resumed")
    for i, note in enumerate(_list(tree.get("notes", []), "notes")):
        text(note, f"notes.{i}")


def keys(tree: Any, place: str, needed: Collection[str], optional: Collection[str] = ()) -> None:
    """Check that a value is an object with these keys and no other."""
    _typed(tree, place, dict)
    for key in needed:
        if key not in tree:
            raise Fault(place, f"{key!r} is missing")
    for key in tree:
        if key not in needed and key not in optional:
            raise Fault(place, f"{key[:60]!r} is no key here")


def text(value: Any, place: str) -> str:
    """Check a text."""
    _typed(value, place, str)
    if len(value) > LONGEST:
        raise Fault(place, f"it has {len(value)} characters, more than {LONGEST}")
    return str(value)


def number(value: Any, place: str) -> float:
    """Check a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Fault(place, f"it is {_shown(value)}, no number")
    if not math.isfinite(value):
        raise Fault(place, "it is not finite")
    return float(value)


def count(value: Any, place: str, least: int = 0) -> int:
    """Check a whole number from `least` on."""
    if type(value) is not int or value < least:
        raise Fault(place, f"it is {_shown(value)}, no whole number from {least} on")
    return value


def one_of(value: Any, place: str, known: Collection[str]) -> None:
    """Check one of some words."""
    if not isinstance(value, str) or value not in known:
        raise Fault(place, f"it is {_shown(value)}, none of {', '.join(known)}")


def settings(value: Any, place: str, depth: int = DEPTH) -> None:
    """Check what a config or an environment may hold: plain values, lists and objects of them, finite numbers."""
    if depth == 0:
        raise Fault(place, f"it is nested more than {DEPTH} deep")
    if isinstance(value, dict):
        for key, inner in value.items():
            settings(inner, f"{place}.{key[:60]}", depth - 1)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            settings(inner, f"{place}.{i}", depth - 1)
    elif isinstance(value, str):
        text(value, place)
    elif value is not None and not isinstance(value, bool):
        number(value, place)


def _identity(tree: Any) -> None:
    keys(tree, "identity", _IDENTITY)
    for key in ("experiment", "variant"):
        if not _NAME.fullmatch(text(tree[key], f"identity.{key}")):
            raise Fault(f"identity.{key}", f"{_shown(tree[key])} is no name")
    one_of(tree["tier"], "identity.tier", TIERS)
    count(tree["seed"], "identity.seed")
    count(tree["version"], "identity.version", 1)
    for key in ("config", "data", "overrides", "seeded_by"):
        _typed(tree[key], f"identity.{key}", dict)
        settings(tree[key], f"identity.{key}")
    for path, checksum in tree["data"].items():
        text(checksum, f"identity.data.{path}")


def _metric(tree: Any, place: str, finished: bool) -> None:
    keys(tree, place, ("value", "unit", "protocol", "n", "se"))
    try:
        name, _ = split_key(place.removeprefix("metrics."))
    except UserError as error:
        raise Fault("metrics", str(error)) from error
    if name not in CATALOGUE:
        raise Fault(place, "no metric of the catalogue has this name")
    if text(tree["unit"], f"{place}.unit") not in (CATALOGUE[name].unit, *FORMER_UNITS.get(name, ())):
        raise Fault(f"{place}.unit", f"it is {_shown(tree['unit'])}, not {CATALOGUE[name].unit!r}")
    if finished or tree["value"] is not None:
        number(tree["value"], f"{place}.value")
    if not text(tree["protocol"], f"{place}.protocol").strip():
        raise Fault(f"{place}.protocol", "it is empty")
    if tree["n"] is not None:
        count(tree["n"], f"{place}.n")
    if tree["se"] is not None and number(tree["se"], f"{place}.se") < 0:
        raise Fault(f"{place}.se", "it is negative")


def _curve(tree: Any, place: str) -> None:
    keys(tree, place, ("x", "y", "x_label", "y_label"))
    for axis in "xy":
        for i, value in enumerate(_list(tree[axis], f"{place}.{axis}")):
            if value is not None:
                number(value, f"{place}.{axis}.{i}")
        text(tree[f"{axis}_label"], f"{place}.{axis}_label")
    if len(tree["x"]) != len(tree["y"]):
        raise Fault(place, f"x has {len(tree['x'])} points, y {len(tree['y'])}")


def _artifact(tree: Any, place: str) -> None:
    keys(tree, place, ("shape", "dtype", "sha256"))
    for i, size in enumerate(_list(tree["shape"], f"{place}.shape")):
        count(size, f"{place}.shape.{i}")
    for key, form in (("dtype", _DTYPE), ("sha256", _SHA256)):
        if not form.fullmatch(text(tree[key], f"{place}.{key}")):
            raise Fault(f"{place}.{key}", f"it is {_shown(tree[key])}")


_ENVIRONMENT: dict[str, type | tuple[type, ...]] = {
    "commit": str, "dirty": bool, "versions": dict, "platform": str, "cpu": str, "cores": int, "device": str,
    "gpu": dict, "threads": int, "dtype": str, "deterministic": bool, "tf32": dict, "jobs": int,
    "float32_matmul_precision": str, "wait_policy": str, "affinity": list, "quota": (int, float),
    "load_before": (int, float), "load_after": (int, float), "foreign_cores": (int, float), "shared": str,
}  # fmt: skip
"""Type of what an environment tells; each may be null, and more may be told."""


def _environment(tree: Any) -> None:
    _typed(tree, "environment", dict)
    settings(tree, "environment")
    for key, value in tree.items():
        if value is not None and key in _ENVIRONMENT:
            _typed(value, f"environment.{key}", _ENVIRONMENT[key])
    if (gpu := tree.get("gpu")) is not None:
        keys(gpu, "environment.gpu", ("name", "driver", "cuda"))


def _time(value: Any) -> None:
    """Check a time with its zone; a record of a run that had none has an empty one."""
    try:
        if text(value, "started") and datetime.fromisoformat(value).tzinfo is None:
            raise Fault("started", f"{_shown(value)} has no zone")
    except ValueError as error:
        raise (
            error if isinstance(error, Fault) else Fault("started", f"{_shown(value)} is no time")
        ) from error


def _each(tree: Any, place: str, check_one: Callable[[Any, str], None]) -> None:
    _typed(tree, place, dict)
    for key, value in tree.items():
        check_one(value, f"{place}.{text(key, place)}")


def _list(value: Any, place: str) -> list[Any]:
    _typed(value, place, list)
    if len(value) > POINTS:
        raise Fault(place, f"it has {len(value)} values, more than {POINTS}")
    return list(value)


def _typed(value: Any, place: str, wanted: type | tuple[type, ...]) -> None:
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise Fault(place, f"it is {_shown(value)}, no {' or '.join(kind.__name__ for kind in kinds)}")


def _shown(value: Any) -> str:
    return repr(value)[:60]
