"""The setting that STEER adds to those of a flow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RandomEnd:
    """How random the end of a training solve is.

    Args:
        b: in units of T: training ends at a random time of U((1 - b) T, (1 + b) T); 0 ends at T.
    """

    b: float = 0.0
