"""Wall time of repeats, a median and a spread; of arms in turns, and their quotient.

Arms A, B... that are to be compared take turns, every second turn backwards: A B, B A, A B... In two neighbouring
turns each arm stands at the same place on average, so a machine that slows down steadily costs both alike: with
seconds a_j, b_j of turn j and a drift that is linear, (a_j + a_j+1) / (b_j + b_j+1) is the quotient without it.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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


def in_turns(names: Iterable[str], turns: int) -> Iterator[tuple[str, ...]]:
    """Yield the names once a turn, every second turn backwards.

    >>> list(in_turns("AB", 3))
    [('A', 'B'), ('B', 'A'), ('A', 'B')]
    """
    order = tuple(names)
    for turn in range(turns):
        yield order[::-1] if turn % 2 else order


def take_turns(
    arms: Mapping[str, Callable[[], object]],
    turns: int,
    clock: Callable[[], float],
    *,
    warmup: int = 1,
    steps: int = 1,
) -> dict[str, list[float]]:
    """Return the seconds of a step of each arm in each turn.

    Args:
        arms: what takes one step, by name.
        turns: of each arm.
        clock: reads the time in seconds, once the device has finished.
        warmup: unmeasured turns before.
        steps: of an arm in one turn, more than one where a step alone would find the caches full of the others'.

    Raises:
        ValueError: fewer than one turn.
    """
    if turns < 1:
        raise ValueError(f"turns must be at least 1, got {turns}")
    for _, step in itertools.product(range(warmup * steps), arms.values()):
        step()
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for order in in_turns(arms, turns):
        for name in order:
            start = clock()
            for _ in range(steps):
                arms[name]()
            seconds[name].append((clock() - start) / steps)
    return seconds


def quotient(mine: Sequence[float], other: Sequence[float]) -> float:
    """Return the median over neighbouring turns of (a_j + a_j+1) / (b_j + b_j+1); of a single turn, a / b.

    >>> quotient([1.0, 4.0, 5.0], [2.0, 3.0, 6.0])  # equal arms on a machine that takes 1 s more at every step
    1.0
    """
    if len(mine) == 1:
        return mine[0] / other[0]
    sums = ([a + b for a, b in itertools.pairwise(values)] for values in (mine, other))
    return statistics.median(a / b for a, b in zip(*sums, strict=True))


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
