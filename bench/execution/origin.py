"""What made a state that a run saved: a state is gone on with by nothing else."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import bench
from bench.registry import papers

MARK = b"cnf-bench state\n"


@cache
def sources() -> str:
    """Return the SHA-256 of every Python file of the harness and of the packages that declare papers."""
    state = hashlib.sha256()
    for root in sorted({Path(bench.__file__).resolve().parent, *map(_package, papers().values())}):
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            state.update(os.fsencode(f"{root.name}/{path.relative_to(root)}\0"))
            state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def _package(module: ModuleType) -> Path:
    """Return the folder of the outermost package of a module, or the file of a module in none.

    It goes by the file of the module, since a namespace package may not know where it is.
    """
    file = Path(module.__file__ or "").resolve()
    here = file.parent if file.name == "__init__.py" else file
    return (here, *here.parents)[module.__name__.count(".")]


def origin(run: str, device: str) -> dict[str, str]:
    """Return what a state depends on: the run, with all its settings, the sources, torch, the kind of device."""
    return {"run": run, "sources": sources(), "torch": _torch(), "device": device.partition(":")[0]}


@cache
def _torch() -> str:
    return importlib.metadata.version("torch")


def sealed(state: bytes, made_by: Mapping[str, str]) -> bytes:
    """Return a state as a file that knows what made it, and whether it is whole."""
    head = {"made_by": made_by, "sha256": hashlib.sha256(state).hexdigest()}
    return MARK + json.dumps(head).encode() + b"\n" + state


def opened(content: bytes, made_by: Mapping[str, str]) -> bytes:
    """Return the state in such a file.

    Raises:
        ValueError: it is damaged, or was made by something else; says what.
    """
    mark, head, state = content[: len(MARK)], *content[len(MARK) :].partition(b"\n")[::2]
    try:
        tree = json.loads(head)
        whole = mark == MARK and tree["sha256"] == hashlib.sha256(state).hexdigest()
        other = [what for what, value in made_by.items() if tree["made_by"].get(what) != value]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("is damaged") from error
    if not whole:
        raise ValueError("is damaged")
    if other:
        raise ValueError(f"was made with another {', '.join(other)}")
    return state


def is_sealed(path: Path) -> bool:
    """Whether a file begins as `sealed` makes them."""
    if not path.is_file():  # a pipe would let the reader wait for ever
        return False
    try:
        with path.open("rb", buffering=0) as stream:
            return stream.read(len(MARK)) == MARK
    except OSError:
        return False
