"""Wall time of repeats: a median and a spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Timing:
    """Wall times of one piece of work, in seconds.

    Args:
        values: every repeat, in the order measured.
        median: of the values.
        spread: their interquartile range; None for a single repeat.
    """

    values: tuple[float, ...]
    median: float
    spread: float | None

    @property
    def n(self) -> int:
        """Number of repeats."""
        return len(self.values)


def synchronize(device: str | torch.device) -> None:
    """Wait until the device has finished what it was given; nothing to wait for on the CPU."""
    kind = str(device).partition(":")[0]
    if kind in ("cuda", "mps"):
        import torch

        torch.cuda.synchronize(device) if kind == "cuda" else torch.mps.synchronize()


def reader(device: str | torch.device) -> Callable[[], float]:
    """Return a clock that reads the time in seconds once the device has finished what it was given."""

    def read() -> float:
        synchronize(device)
        return time.perf_counter()

    return read


def time_repeats(
    fn: Callable[[], object], *, device: str | torch.device = "cpu", warmup: int = 1, repeats: int = 5
) -> Timing:
    """Time a piece of work: `warmup` unmeasured calls, then `repeats` measured and synchronised ones.

    Raises:
        ValueError: fewer than one repeat.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    for _ in range(warmup):
        fn()
    values = tuple(_time_once(fn, device) for _ in range(repeats))
    return Timing(values, statistics.median(values), _interquartile_range(values))


def _time_once(fn: Callable[[], object], device: str | torch.device) -> float:
    clock = reader(device)
    start = clock()
    fn()
    return clock() - start


def _interquartile_range(values: tuple[float, ...]) -> float | None:
    if len(values) < 2:
        return None
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return upper - lower
