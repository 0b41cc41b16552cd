"""Files of torch that somebody else may have written: weights only, no code, nothing larger than the file itself."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from bench import files
from bench.errors import UserError

LARGEST = 2**34


def load(path: Path) -> Any:
    """Return what `torch.save` wrote, on the CPU: tensors, plain values and containers of them.

    Raises:
        UserError: it is no such file, a damaged one, larger than `LARGEST`, compressed, or holds anything else.
    """
    import torch

    content = files.read(path, LARGEST)
    try:
        with zipfile.ZipFile(
            io.BytesIO(content)
        ) as archive:  # what torch.save wrote is stored, not compressed
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist())
            size = sum(member.file_size for member in archive.infolist())
        if packed or size > len(content):
            raise ValueError("it is compressed")
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail in any way
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"cannot read {path}: {type(error).__name__}: {reason}") from error
