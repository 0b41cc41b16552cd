"""Settings: config dataclasses with some fields replaced, dotted keys, settings read from text and TOML."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench import files
from bench.errors import UserError

LARGEST = 2.0**63
"""Of the numbers of a setting."""
MOST = 1000
"""Values of a list, characters of a text, of a setting."""
FILE = 2**20
"""Bytes of a TOML file."""
PARTS = 64
"""Parts of a dotted key: the time that the parser takes grows with their square."""
_LONG_KEY = re.compile(rf"(?<![^\s.=])(?:[^\s.=]++[ \t]*+\.[ \t]*+){{{PARTS}}}")


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
    except Exception as error:  # of a library that checks its own settings
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
    """Return a value of the type of another, or refuse it; what takes the place of None is a plain value."""
    if isinstance(value, list | tuple):
        if like is not None and not isinstance(like, tuple):
            raise UserError(f"{what} wants {type(like).__name__}, got a list")
        if len(value) > MOST:
            raise UserError(f"{what} has {len(value)} values, more than {MOST}")
        alike = like[0] if like and len(set(map(type, like))) == 1 else None
        return tuple(_coerce(one, alike, what) for one in value)
    if not isinstance(value, bool | int | float | str | None):
        raise UserError(f"{what} wants a plain value, got {type(value).__name__} {value!r:.60}")
    if isinstance(value, int | float) and not abs(value) <= LARGEST:
        raise UserError(f"{what} wants a finite number of at most {LARGEST:g}, got {value!r:.60}")
    if isinstance(value, str) and (len(value) > MOST or not value.isprintable()):
        raise UserError(f"{what} wants at most {MOST} printable characters, got {value!r:.60}")
    if isinstance(like, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if like is not None and value is not None and type(value) is not type(like):
        raise UserError(f"{what} wants {type(like).__name__}, got {type(value).__name__} {value!r:.60}")
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
        read = _toml(f"value = {value}")
    except ValueError:
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
    content = files.read(path, FILE)
    try:
        return _toml(content.decode("utf-8"))
    except ValueError as error:
        detail = re.sub(r"\s+", " ", str(error))
        raise UserError(f"{path} is not valid TOML: {detail}") from error


def _toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: it is none, or nested too deeply.
    """
    if _LONG_KEY.search(text):
        raise ValueError(f"a key has more than {PARTS} parts")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
