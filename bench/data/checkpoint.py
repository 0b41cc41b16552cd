"""Arrays of a torch checkpoint that somebody else published, as a file that needs no torch and runs no code."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np


def arrays_of(path: Path) -> bytes:
    """Return the `state_dict` of a checkpoint as numpy.savez writes it: the same bytes for the same arrays.

    Only tensors, plain values and an `argparse.Namespace` are read; a checkpoint with more is refused unread.

    Raises:
        ValueError: it is no such checkpoint.
    """
    import torch

    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
        state = {name: value.numpy() for name, value in checkpoint["state_dict"].items()}
    except Exception as fault:  # a file of another kind can fail in any way
        raise ValueError(f"no checkpoint with a state_dict ({type(fault).__name__})") from fault
    buffer = io.BytesIO()
    np.savez(buffer, **state)
    return buffer.getvalue()
