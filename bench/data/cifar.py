"""CIFAR-10's Python archive, whose batches are pickles: to be read in a process of its own, by `bench.data.convert`."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
LARGEST = 2**27
"""Bytes that a batch may unpack to."""


def arrays_of(path: Path, split: str) -> dict[str, NDArray[np.generic]]:
    """Return the rows `data`, uint8 `(N, 3072)`, and the `labels`, int64 `(N,)`, of a split, batch after batch.

    Raises:
        KeyError: a batch is absent, or has no images or labels.
        pickle.UnpicklingError: a batch refers to anything but numpy's arrays.
    """
    batches = _read_batches(path, BATCHES[split])
    wanted = [batches[name] for name in BATCHES[split]]
    return {
        "data": np.concatenate([np.asarray(batch[b"data"], np.uint8) for batch in wanted]),
        "labels": np.concatenate([np.asarray(batch[b"labels"], np.int64) for batch in wanted]),
    }


def _read_batches(path: Path, wanted: tuple[str, ...]) -> dict[str, dict[bytes, Any]]:
    """Unpickle the named members in one pass; a seek back would decompress the archive again."""
    with tarfile.open(path, "r|gz") as archive:
        return {
            Path(member.name).name: _ArrayUnpickler(io.BytesIO(stream.read()), encoding="bytes").load()
            for member in archive
            if Path(member.name).name in wanted
            and member.isfile()
            and member.size <= LARGEST
            and (stream := archive.extractfile(member))
        }


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler of numpy arrays and plain containers: the three globals that an array needs, no other."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {"_reconstruct": np.empty(0).__reduce__()[0], "ndarray": np.ndarray, "dtype": np.dtype}
        if module.partition(".")[0] == "numpy" and name in allowed:
            return allowed[name]
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")
