"""The weights that the authors of OT-Flow published, as potentials of ours (onken2021otflow)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from bench.arrays import read_npz
from bench.data import registry
from bench.errors import UserError
from replications.ot_flow.experiments.published_weights.declaration import DATA_SET
from replications.ot_flow.potential import Potential

NAMES = {"w": "w.weight", "A": "A", "b": "c.weight", "c": "c.bias"}
"""Our parameters by the authors' names; N.layers.0 is our opening layer, N.layers.i our layer i - 1."""


def published(name: str) -> dict[str, NDArray[np.floating]]:
    """Return the authors' arrays by their names.

    Args:
        name: `miniboone` or `swissroll`.

    Raises:
        UserError: the file is not here, or not the published one.
    """
    path = registry.get(DATA_SET).require()[f"ot_flow/{name}_weights.npz"]
    return read_npz(path)


def potential(arrays: Mapping[str, NDArray[np.floating]]) -> Potential:
    """Return the potential with these weights, in their own precision.

    Raises:
        UserError: an array is absent, one too many, or of a shape that does not fit the others.
    """
    first = arrays.get("N.layers.0.weight")
    if first is None or first.ndim != 2:
        raise UserError(
            "weights lack the matrix N.layers.0.weight: give all arrays of a published checkpoint"
        )
    width, inputs = first.shape
    layers = sum(name.endswith(".bias") and name.startswith("N.") for name in arrays)
    phi = Potential(inputs - 1, width, layers, torch.Generator().manual_seed(0))
    names = dict(NAMES)
    for part in ("weight", "bias"):
        names[f"opening.{part}"] = f"N.layers.0.{part}"
        names |= {f"layers.{i}.{part}": f"N.layers.{i + 1}.{part}" for i in range(layers - 1)}
    if set(names.values()) != set(arrays):
        raise UserError(f"weights are named {', '.join(arrays)}; expected {', '.join(names.values())}")
    like = phi.state_dict()
    try:
        state = {
            ours: torch.tensor(arrays[theirs]).reshape(like[ours].shape) for ours, theirs in names.items()
        }
    except RuntimeError as fault:
        raise UserError(f"weights of unfitting shapes: {fault}") from fault
    phi.to(state["A"].dtype).load_state_dict(state)
    return phi
