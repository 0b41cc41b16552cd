"""Trained models of runs, kept beside their records."""

from __future__ import annotations

import hashlib
import inspect
import io
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench import torch_files
from bench.errors import UserError
from bench.identity import Identity
from bench.record import read, record_files, record_path
from bench.registry import builders, left_out, resolve

MOST = 2**20
"""Largest number that a builder takes, and most elements of a list."""


def model_path(folder: Path, identity: Identity) -> Path:
    """Return where a run's trained model lies below an output folder."""
    return folder / "models" / identity.experiment / f"{identity.name}.pt"


def packed(identity: Identity, builder: str, arguments: Mapping[str, Any], state: Mapping[str, Any]) -> bytes:
    """Return the file of a run's trained model: of which run it is, what rebuilds it, and its state.

    Raises:
        UserError: the builder is not declared, or an argument is no plain value.
    """
    import torch

    _check_builder(builder)
    _check_arguments(arguments)
    buffer = io.BytesIO()
    content = {"run": identity.id, "builder": builder, "arguments": dict(arguments), "state": dict(state)}
    torch.save(content | {"sha256": _digest(state)}, buffer)
    return buffer.getvalue()


def find_record(run: str | Path) -> Path:
    """Return the one record a person means: its path, or `<folder>/<start of the run id or file name>`.

    Raises:
        UserError: none or several match.
    """
    path = Path(run)
    if path.is_file():
        return path
    folder, key = (Path("results") if len(path.parts) == 1 else path.parent), path.name
    unread: list[str] = []
    found = [
        p
        for p in record_files(folder, unread)
        if p.stem.rsplit(".", 1)[-1].startswith(key[:10]) or p.stem.startswith(key)
    ]
    if len(found) != 1:
        what = "no record" if not found else f"{len(found)} records"
        advice = "; ".join(["give a record's path or `<out>/<run id>`", *unread])
        raise UserError(f"{what} for {str(run)!r}; {advice}")
    return found[0]


def load_model(run: str | Path) -> Any:
    """Return the trained model of a run; see `bench.load`."""
    path = find_record(run)
    identity = read(path).identity
    folder = path.parent.parent.parent
    place = model_path(folder, identity)
    if record_path(folder, identity) != path or not place.is_file():
        raise UserError(
            f"run {path} kept no model; repeat it with `cnf-bench run ... --out {folder} --force`"
        )
    saved = torch_files.load(place)
    try:
        return _rebuilt(saved, identity)
    except Exception as error:  # a builder can fail in any way on what it was not made for
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{place} is no model of {identity.label}: {reason}; repeat the run") from error


def _rebuilt(saved: Any, identity: Identity) -> Any:
    if not isinstance(saved, dict) or saved.keys() != {"run", "builder", "arguments", "state", "sha256"}:
        raise UserError("it holds other things than a model")
    if saved["run"] != identity.id:
        raise UserError("it is the model of another run")
    if saved["sha256"] != _digest(saved["state"]):
        raise UserError("its numbers are not those that were written")
    _check_builder(saved["builder"])
    _check_arguments(saved["arguments"])
    builder, state = resolve(saved["builder"]), saved["state"]
    inspect.signature(builder).bind(**saved["arguments"])
    with _bounded(sum(tensor.numel() for tensor in state.values())):
        model = builder(**saved["arguments"])
    model.load_state_dict(state)
    return model.eval()


def _digest(state: Mapping[str, Any]) -> str:
    """Return the SHA-256 of names, types, shapes and bytes of a state's tensors."""
    import torch

    found = hashlib.sha256()
    for name, tensor in state.items():
        found.update(f"{name}/{tensor.dtype}/{tuple(tensor.shape)}/".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _check_builder(name: Any) -> None:
    """Refuse a builder that no paper declares: a name in a file never chooses what is imported."""
    if not isinstance(name, str) or name not in builders():
        broken = "".join(f"; {line}" for line in left_out())
        raise UserError(f"builder {name!r:.80} is in no paper's BUILDERS{broken}")


def _check_arguments(arguments: Any) -> None:
    """Refuse arguments that are no plain values, finite and no more than `MOST`, or short lists of them."""
    if not isinstance(arguments, Mapping):
        raise UserError("its arguments are no mapping")
    for name, value in arguments.items():
        for one in value if isinstance(value, list | tuple) and len(value) <= MOST else [value]:
            plain = isinstance(one, bool | int | float | str | None)
            if not plain or (isinstance(one, int | float) and not abs(one) <= MOST):
                raise UserError(f"argument {name!r:.80} is {one!r:.80}")


def _bounded(elements: int) -> AbstractContextManager[Any]:
    """Let a builder make no more elements than the state that it shall take could need."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Bounded(TorchDispatchMode):
        left = 16 * elements + MOST

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            for value in args:
                sizes = value if isinstance(value, list | tuple) else [value]
                if sizes and all(type(size) is int for size in sizes):
                    self.left -= abs(math.prod(sizes))
            if self.left < 0:
                raise UserError("its arguments ask for a far larger model than its state is")
            return func(*args, **(kwargs or {}))

    return Bounded()
