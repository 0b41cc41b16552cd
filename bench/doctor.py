"""What is wrong in an output folder, and moving it aside; nothing is ever deleted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench import files
from bench.errors import UserError
from bench.identity import is_current
from bench.record import (
    DAMAGED,
    LOSER,
    SETTLED,
    OldRecord,
    Record,
    artifact_path,
    free,
    read,
    record_files,
)

QUARANTINE = "quarantine"
PARTS = {"records": ".json", "artifacts": ".npz", "models": ".pt", "checkpoints": ".pt", "logs": ".log"}
"""Folders that runs write, `<part>/<experiment>/<name><end>`, and how the names of their files end."""


class Finding(NamedTuple):
    """Something that is wrong: where, what, and whether it is moved aside."""

    path: Path
    what: str
    movable: bool = True


def examine(folder: Path) -> list[Finding]:
    """Return what is wrong in an output folder, by path.

    Damaged and misplaced records, what was kept beside a record, arrays and models without a record, arrays that are
    not the recorded ones, drafts of killed runs, and everything that no run writes. Drafts are also what a run that
    is going on has not finished.

    Raises:
        UserError: no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; give a folder that `cnf-bench run --out` wrote")
    try:
        return _examined(folder)
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error


def _examined(folder: Path) -> list[Finding]:
    found: dict[Path, str] = {}
    old: list[Finding] = []
    names: set[str] = set()
    for path in _below(folder, "records"):
        try:
            record = None if (fault := _misnamed(path, folder, "records")) else read(path)
        except OldRecord as error:
            old.append(Finding(path, str(error), movable=False))
            names.add(f"{path.parent.name}/{path.stem}")
            continue
        except UserError as error:
            fault, record = str(error), None
        if record is not None:
            names.add(f"{record.identity.experiment}/{record.identity.name}")
            found |= dict.fromkeys(*_arrays(folder, record))
        elif fault:
            found[path] = fault
    for part in list(PARTS)[1:]:
        for path in _below(folder, part):
            fault = _misnamed(path, folder, part)
            owner = f"{path.parent.name}/{path.name.removesuffix(PARTS[part])}"
            if fault is None and part in ("artifacts", "models") and owner not in names:
                fault = "there is no record of this run"
            if fault:
                found[path] = fault
    return sorted([*old, *(Finding(path, what) for path, what in found.items())])


def move_aside(folder: Path, findings: list[Finding], target: Path) -> list[Path]:
    """Move what was found below another folder, each under its own path there, and return the new places.

    Raises:
        Unwritable: the folder can not be written or is on another file system.
    """
    moved = []
    for path, _, movable in findings:
        if movable and os.path.lexists(path):
            place = free(target / path.relative_to(folder))
            files.move(path, folder, place, target)
            moved.append(place)
    return moved


def superseded(folder: Path) -> list[Finding]:
    """Return the records, with all files of their runs, whose place a fresh record in the same folder has taken.

    Fresh is a settled record that today's declaration makes, with today's random streams; superseded is one of the same
    run that is stale or has the streams of schema 1. Records that can not be read, and what no run wrote, are left out.

    Raises:
        UserError: no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; give a folder that `cnf-bench run --out` wrote")
    fresh: set[object] = set()
    old: list[Record] = []
    for path in record_files(folder, []):
        try:
            record = read(path)
        except UserError:
            continue
        if not (record.identity.renewed and is_current(record.identity)):
            old.append(record)
        elif record.status in SETTLED:
            fresh.add(record.identity.run)
    what = "there is a fresh record of this run"
    return sorted(
        Finding(path, what)
        for record in old
        if record.identity.run in fresh
        for path in _files(folder, record)
    )


def _files(folder: Path, record: Record) -> Iterator[Path]:
    """Yield a record's file, and what its run wrote beside it."""
    assert record.path is not None
    yield record.path
    for part, end in list(PARTS.items())[1:]:
        place = folder / part / record.identity.experiment / f"{record.identity.name}{end}"
        if place.is_file() and not place.is_symlink():
            yield place


def _below(folder: Path, part: str) -> Iterator[Path]:
    """Yield what lies in a part: files in its folders, and whatever has no place there; no link is followed."""
    root = folder / part
    if not root.is_dir() or root.is_symlink():
        yield from [root] if os.path.lexists(root) else []
        return
    for inner in root.iterdir():
        if inner.is_dir() and not inner.is_symlink():
            yield from inner.iterdir()
        else:
            yield inner


def _misnamed(path: Path, folder: Path, part: str) -> str | None:
    """Return why something can be no file of a part, None where it can."""
    if path.is_symlink():
        return "it is a link"
    if len(path.relative_to(folder).parts) != 3 or not path.is_file():
        return "no run writes this here"
    if files.is_draft(path.name):
        return "the draft of a run that was killed, or is going on"
    if path.name.endswith(LOSER):
        return "the end of a run that has a settled record"
    if f".json{DAMAGED}" in path.name:
        return "a damaged record that was replaced"
    return None if path.name.endswith(PARTS[part]) else "no run writes this here"


def _arrays(folder: Path, record: Record) -> tuple[list[Path], str]:
    """Return the record and the file of its arrays where they do not fit together, and why."""
    path = artifact_path(folder, record.identity)
    if not record.artifacts and not os.path.lexists(path):
        return [], ""
    if not record.artifacts:
        return [path], "its record names no arrays"
    try:
        for key in record.artifacts:
            record.array(key)
    except UserError as error:
        assert record.path is not None
        return [record.path, *([path] if os.path.lexists(path) else [])], str(error)
    return [], ""
