"""Grey pictures as short series of numbers, for records that figures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 16
EACH = 13
"""Pixels that one number holds: 16^13 = 2^52 is exact in float64."""

_PLACES = LEVELS ** np.arange(EACH, dtype=np.int64)


def pack(pictures: NDArray[Any]) -> list[float]:
    """Return pictures `(N, P)`, values 0..1, rounded to 16 levels: ceil(P / 13) numbers each.

    A number is the sum of v_k 16^k over 13 pixels with the levels v_k = 0..15.
    """
    levels = np.rint(np.clip(pictures, 0, 1) * (LEVELS - 1)).astype(np.int64)
    padded = np.pad(levels, ((0, 0), (0, -levels.shape[1] % EACH)))
    numbers: list[float] = (padded.reshape(-1, EACH) @ _PLACES).astype(np.float64).tolist()
    return numbers


def unpack(numbers: Sequence[float], pixels: int) -> NDArray[Any]:
    """Return pictures `(N, P)`, values 0..1, of what `pack` made of them."""
    packed = np.array(numbers, dtype=np.int64)
    levels = packed[:, None] // _PLACES % LEVELS
    return levels.reshape(-1, -(-pixels // EACH) * EACH)[:, :pixels] / (LEVELS - 1)
