"""Files whose format can run code or crash its reader, read in a process of their own, with limits, as plain arrays.

| limit | value |
|---|---|
| memory beyond what the imports take | 6 times the file, and `MEMORY` |
| what is written | 4 times the file, and `MEMORY` |
| time of the processor, and by the clock | `SECONDS` |
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from bench import files
from bench.arrays import LARGEST, read_npz
from bench.execution.processes import at_most, end_with, python

MEMORY = 2**30
SECONDS = 900
NAMES = "names"


def checkpoint(path: Path) -> bytes:
    """Return `bench.data.checkpoint.arrays_of` of a file.

    Raises:
        ValueError: it can not be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        return files.read(_converted("checkpoint", path, Path(folder)), LARGEST)


def frame(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return the columns of a data frame that old pandas pickled, in its order, as float64.

    Raises:
        ValueError: it can not be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        columns = read_npz(_converted("frame", path, Path(folder)))
    names = json.loads(columns.pop(NAMES).tobytes())
    return dict(zip(names, columns.values(), strict=True))


def cifar10(path: Path, split: str) -> dict[str, NDArray[np.generic]]:
    """Return `bench.data.cifar.arrays_of` of a file.

    Raises:
        ValueError: it can not be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        return read_npz(_converted(f"cifar10-{split}", path, Path(folder)))


def hdf5(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return the parts `train`, `validation` and `test` of an HDF5 file, as float64.

    Raises:
        ValueError: it can not be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        return read_npz(_converted("hdf5", path, Path(folder)))


def greys(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return `bench.data.photographs.greys_of` of a file.

    Raises:
        ValueError: it can not be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        return read_npz(_converted("greys", path, Path(folder)))


def _converted(kind: str, path: Path, folder: Path) -> Path:
    """Return the file that a child has written from another."""
    target = folder / "arrays.npz"
    try:
        done = subprocess.run(
            [*python(), "-m", "bench.data.convert", str(os.getpid()), kind, str(path), str(target)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=SECONDS,
            text=True, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"its reader took more than {SECONDS} s") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ValueError(f"its reader ended with code {done.returncode}: {said[0][:200]}")
    return target


def _save_named(stream: IO[bytes], columns: dict[object, NDArray[np.generic]]) -> None:
    """Write columns in their order, as float64, and their names, which may be no names of files."""
    names = np.frombuffer(json.dumps([str(name) for name in columns]).encode(), np.uint8)
    numbered = {str(i): column.astype(np.float64) for i, column in enumerate(columns.values())}
    np.savez(stream, allow_pickle=False, **numbered, **{NAMES: names})


def _limit(size: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    for what, most in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + 6 * size + MEMORY if pages else None),
        (resource.RLIMIT_FSIZE, 4 * size + MEMORY),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        if most is not None:
            at_most(what, most)


def convert(kind: str, path: Path, target: Path) -> None:
    """Write the arrays of a file to another, in a process whose limits are set from here on."""
    read = _reader(kind)
    _limit(path.stat().st_size)
    with target.open("wb") as stream:
        read(path, stream)


def _reader(kind: str) -> Callable[[Path, IO[bytes]], None]:
    """Return what reads a kind of file and writes its arrays; what it needs is imported before limits hold."""
    if kind == "checkpoint":
        import torch

        from bench.data.checkpoint import arrays_of

        torch.set_num_threads(1)

        def weights(path: Path, stream: IO[bytes]) -> None:
            stream.write(arrays_of(path))

        return weights
    if kind == "frame":
        from bench.data.legacy_pandas import read_old_frame

        return lambda path, stream: _save_named(stream, read_old_frame(path))
    if kind == "hdf5":
        from bench.data.hdf5 import parts_of

        return lambda path, stream: np.savez(stream, allow_pickle=False, **parts_of(path))
    if kind == "greys":
        from PIL import JpegImagePlugin  # noqa: F401  # the plugin is imported before limits hold

        from bench.data.photographs import greys_of

        return lambda path, stream: np.savez(stream, allow_pickle=False, **greys_of(path))
    from bench.data.cifar import arrays_of as batches_of

    split = kind.removeprefix("cifar10-")
    return lambda path, stream: np.savez(stream, allow_pickle=False, **batches_of(path, split))


if __name__ == "__main__":
    try:
        end_with(int(sys.argv[1]))
        convert(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    except Exception as error:  # its last line is all that is told
        sys.exit(" ".join(f"{type(error).__name__}: {error}".split())[:300])
