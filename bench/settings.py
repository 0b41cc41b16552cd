"""Settings: config dataclasses with some fields replaced, dotted keys, settings read from text and TOML."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import UserError


def replace(config: Any, overrides: Mapping[str, Any], owner: str) -> Any:
    """Return a config dataclass with some fields replaced, types checked; `a.b` is field b of the dataclass in a.

    Raises:
        UserError: a key that is no field, or a value of another type.
    """
    checked: dict[str, Any] = {}
    for key, value in overrides.items():
        name, _, inner = key.partition(".")
        fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
        if name not in fields:
            raise UserError(f"{owner}: unknown config key {key!r}; {suggest(key, flat_names(config))}")
        now = checked.get(name, fields[name])
        if inner or (dataclasses.is_dataclass(now) and isinstance(value, Mapping)):
            if not dataclasses.is_dataclass(now):
                raise UserError(f"{owner}: config key {name!r} has no keys of its own, as {key!r} says")
            checked[name] = replace(now, {inner: value} if inner else value, f"{owner}: {name}")
        else:
            checked[name] = _coerce(value, fields[name], f"{owner}: config key {key!r}")
    try:
        return dataclasses.replace(config, **checked)
    except ValueError as error:  # of a library that checks its own settings
        raise UserError(f"{owner}: {error}") from error


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level of dotted keys."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def flat_names(config: Any) -> list[str]:
    """Return the dotted keys of a config dataclass."""
    return list(flat(dataclasses.asdict(config)))


def _coerce(value: Any, like: Any, what: str) -> Any:
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{what} wants a finite number, got {value}")
    if isinstance(like, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if like is not None and value is not None and type(value) is not type(like):
        raise UserError(f"{what} wants {type(like).__name__}, got {type(value).__name__} {value!r}")
    return value


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `did you mean ...?`, or the list of what is known."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=3)
    return f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(known)}"


def read_setting(text: str) -> tuple[str, Any]:
    """Read `key=value`; the value is TOML, or a bare word.

    >>> read_setting("b=0.3"), read_setting("solver=rk4")
    (('b', 0.3), ('solver', 'rk4'))

    Raises:
        UserError: no key, no value, or more than one setting.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals and value):
        raise UserError(f"--set wants key=value, got {text!r}")
    try:
        read = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        read = {"value": value}
    if len(read) > 1 or not all(key.split(".")):
        raise UserError(f"--set wants one key=value, got {text!r}")
    return key, read["value"]


def read_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Read several `key=value`.

    Raises:
        UserError: one is malformed, or a key is set twice.
    """
    found: dict[str, Any] = {}
    for key, value in map(read_setting, texts):
        if key in found:
            raise UserError(f"--set gives {key!r} twice: choose one value")
        found[key] = value
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        UserError: the file cannot be read or parsed.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        detail = re.sub(r"\s+", " ", str(error))
        raise UserError(f"{path} is not valid TOML: {detail}") from error
