"""Trained models of runs, kept beside their records."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.identity import Identity
from bench.record import read, record_path, records_root, write_atomically
from bench.registry import resolve


def model_path(folder: Path, identity: Identity) -> Path:
    """Return where a run's trained model lies below an output folder."""
    return folder / "models" / identity.experiment / f"{identity.name}.pt"


def save_model(
    folder: Path, identity: Identity, builder: str, arguments: Mapping[str, Any], state: Mapping[str, Any]
) -> None:
    """Write a trained model: what rebuilds it, and its state."""
    import torch

    buffer = io.BytesIO()
    torch.save({"builder": builder, "arguments": dict(arguments), "state": dict(state)}, buffer)
    write_atomically(model_path(folder, identity), buffer.getvalue())


def find_record(run: str | Path) -> Path:
    """Return the one record a person means: its path, or `<folder>/<start of the run id or file name>`.

    Raises:
        UserError: none or several match.
    """
    path = Path(run)
    if path.is_file():
        return path
    folder, key = (Path("results") if len(path.parts) == 1 else path.parent), path.name
    found = [
        p
        for p in sorted(records_root(folder).glob("*/*.json"))
        if p.stem.rsplit(".", 1)[-1].startswith(key[:10]) or p.stem.startswith(key)
    ]
    if len(found) != 1:
        what = "no record" if not found else f"{len(found)} records"
        raise UserError(f"{what} for {str(run)!r}; give a record's path or `<out>/<run id>`")
    return found[0]


def load_model(run: str | Path) -> Any:
    """Return the trained model of a run; see `bench.load`."""
    import torch

    path = find_record(run)
    identity = read(path).identity
    folder = path.parent.parent.parent
    model_file = model_path(folder, identity)
    if record_path(folder, identity) != path or not model_file.is_file():
        raise UserError(
            f"run {path} kept no model; repeat it with `cnf-bench run ... --out {folder} --force`"
        )
    saved = torch.load(model_file, map_location="cpu", weights_only=True)
    model = resolve(saved["builder"])(**saved["arguments"])
    model.load_state_dict(saved["state"])
    return model.eval()
