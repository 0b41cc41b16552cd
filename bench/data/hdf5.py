"""BSDS300's HDF5 file: to be read in a process of its own, by `bench.data.convert`."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PARTS = ("train", "validation", "test")


def parts_of(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return the data sets of an HDF5 file called `PARTS`, `(N, D)` each.

    Raises:
        OSError, KeyError: it is no such file, or one is absent.
    """
    h5py = importlib.import_module("h5py")
    with h5py.File(path, "r") as file:
        return {part: np.asarray(file[part], np.float64) for part in PARTS}
