"""Files of numpy that somebody else may have written: numbers only, no code, no more than announced.

| limit | value |
|---|---|
| size of a file | `LARGEST` bytes |
| all arrays of an archive, unpacked | `UNPACKED` bytes |
| header of an array | numpy's, 10000 bytes |
"""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from bench import files
from bench.errors import UserError

LARGEST = 2**33
UNPACKED = 2**32

Array = NDArray[Any]


def read_npy(path: Path) -> Array:
    """Return the numbers of a `.npy` file.

    Raises:
        UserError: it can not be read, or is no such file: cut off, too long, or of other things than numbers.
    """
    return _told(path, _array)


def read_npz(path: Path) -> dict[str, Array]:
    """Return the arrays of a `.npz` file by name.

    Raises:
        UserError: as `read_npy`, or a name comes twice, or it unpacks to more than `UNPACKED` bytes.
    """
    return _told(path, _archive)


def _told(path: Path, parse: Any) -> Any:
    content = files.read(path, LARGEST)
    try:
        return parse(content)
    except Exception as error:  # a damaged file can fail in any way
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"cannot read {path}: {type(error).__name__}: {reason}; make or fetch it again"
        ) from error


def _array(content: bytes) -> Array:
    stream = io.BytesIO(content)
    version = npy.read_magic(stream)
    if version not in {(1, 0), (2, 0)}:
        raise ValueError(f"version {version} is not read here")
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = header(stream)
    if dtype.kind not in "biufc":
        raise ValueError(f"it holds {dtype.str}, no numbers")
    left = len(content) - stream.tell()
    if any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != left:
        raise ValueError(f"it announces {shape} of {dtype.str} and has {left} bytes")
    flat = np.frombuffer(content, dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C").copy(order="K")


def _archive(content: bytes) -> dict[str, Array]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) != len(members):
            raise ValueError("a name comes twice")
        if any(member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for member in members):
            raise ValueError("it is compressed in another way than numpy's")
        if (size := sum(member.file_size for member in members)) > UNPACKED:
            raise ValueError(f"it unpacks to {size} bytes, more than {UNPACKED}")
        return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
