"""JPEG images of an archive: to be read in a process of its own, by `bench.data.convert`."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

LARGEST = 2**24
"""Bytes that an image may have."""


def greys_of(path: Path) -> dict[str, NDArray[np.uint8]]:
    """Return the grey levels `(H, W)` of the images `<part>/<name>.jpg` of a tar file, by `<part>/<name>`, sorted.

    Grey is Pillow's, (299 R + 587 G + 114 B) / 1000, rounded. Decoders may differ by a level.

    Raises:
        tarfile.TarError: it is no tar file.
        ValueError: an image is too large, or there is none.
        PIL.UnidentifiedImageError, OSError: a member called `*.jpg` is no JPEG image or is cut off.
    """
    from PIL import Image

    found: dict[str, NDArray[np.uint8]] = {}
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if name.suffix != ".jpg" or not member.isfile():
                continue
            if member.size > LARGEST:
                raise ValueError(f"{member.name} has {member.size} bytes")
            content = archive.extractfile(member)
            assert content is not None  # a file has some
            with Image.open(io.BytesIO(content.read()), formats=["JPEG"]) as image:
                found[f"{name.parent.name}/{name.stem}"] = np.asarray(image.convert("L"))
    if not found:
        raise ValueError("no image is in it")
    return dict(sorted(found.items()))
