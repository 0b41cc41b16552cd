"""Parsers of formats that are read in a process of their own: here a fork, which has the same limits and is quicker."""

from __future__ import annotations

import io
import os
import random
import tarfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from mutants import of_bytes
from parsers import Parser
from test_image_data import python2_pickle
from test_legacy_pandas import gas_columns, legacy_pandas

from bench.data import convert, images
from bench.errors import UserError

SECONDS = 10
SPLIT = "test"


def forked(kind: str, path: Path, folder: Path) -> Path:
    """Do what `convert._converted` does, in a fork of this process."""
    target = folder / "arrays.npz"
    pid = os.fork()
    if pid == 0:
        try:
            convert.convert(kind, path, target)
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise ValueError(f"its reader ended with code {code}")
    return target


def converting(read: Callable[[Path], Any]) -> Callable[[Path, bytes], Any]:
    """Return the call on an input of what reads such a file."""

    def call(folder: Path, content: bytes) -> Any:
        place = folder / "input"
        place.write_bytes(content)
        with patch.object(convert, "_converted", forked), patch.object(convert, "SECONDS", SECONDS):
            try:
                return read(place)
            except ValueError as error:  # of `convert`; its callers add what to do about it
                raise UserError(str(error)) from error

    return call


def old_frame(_: Path) -> bytes:
    return legacy_pandas(gas_columns(9), "0.19")


def a_checkpoint(_: Path) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save({"state_dict": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}}, stream)
    return stream.getvalue()


def a_batch(_: Path) -> bytes:
    rows = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    return python2_pickle({"data": rows, "labels": [3, 4]})


def in_an_archive(content: bytes, rng: random.Random) -> bytes:
    """Damage a batch and pack it, or pack it and damage the archive."""
    return packed(of_bytes(content, rng)) if rng.random() < 0.7 else of_bytes(packed(content), rng)


def packed(batch: bytes) -> bytes:
    """Return an archive with a batch in it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        info = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        info.size = len(batch)
        archive.addfile(info, io.BytesIO(batch))
    return stream.getvalue()


def an_hdf5(folder: Path) -> bytes:
    import h5py

    with h5py.File(folder / "good.hdf5", "w") as file:
        for part in ("train", "validation", "test"):
            file[part] = np.arange(6.0).reshape(2, 3)
    return (folder / "good.hdf5").read_bytes()


def a_photograph(_: Path) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(stream, "JPEG")
    return stream.getvalue()


def in_a_tar(content: bytes, rng: random.Random) -> bytes:
    """Damage an image and pack it, or pack it and damage the archive."""
    return photographs(of_bytes(content, rng)) if rng.random() < 0.7 else of_bytes(photographs(content), rng)


def photographs(image: bytes) -> bytes:
    """Return an archive with an image in it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("train/1.jpg")
        info.size = len(image)
        archive.addfile(info, io.BytesIO(image))
    return stream.getvalue()


def cifar10(place: Path) -> Any:
    return images.load_cifar10(SPLIT, {"cifar10/cifar-10-python.tar.gz": place})


CONVERTED: dict[str, Parser] = {
    "old frame": Parser(old_frame, converting(convert.frame)),
    "checkpoint": Parser(a_checkpoint, converting(convert.checkpoint)),
    "CIFAR-10": Parser(a_batch, converting(cifar10), in_an_archive),
    "photographs": Parser(a_photograph, converting(convert.greys), in_a_tar),
}
if find_spec("h5py"):
    CONVERTED["HDF5"] = Parser(an_hdf5, converting(convert.hdf5))
