"""What happened in a training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from replications.flows.means import cycled, mean_over_points

CURVE_POINTS = 300


@dataclass
class Log:
    """What happened in training, one entry an iteration but for the validations and the starts.

    Args:
        losses: of the batches.
        seconds: wall time of loss, gradient and step, without that spent on data where it is told apart.
        nfe_forward: evaluations of the loss.
        nfe_backward: evaluations of its gradient.
        validations: (iterations done, value).
        drawing: seconds spent on data, where they are told apart.
        starts: the iterations with which a process began to train, which compile, allocate and use things first.
        kept: share of the solver's steps whose graph was kept for the gradient, where it needs any to be kept.
    """

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    nfe_forward: list[int] = field(default_factory=list)
    nfe_backward: list[int] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)
    drawing: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)

    @property
    def evaluations(self) -> int:
        """Evaluations of all iterations, forward and backward."""
        return sum(self.nfe_forward) + sum(self.nfe_backward)

    @property
    def iteration_time(self) -> float:
        """Median wall time of an iteration (loss, gradient, step), in seconds; a process's first does not count."""
        later = [value for i, value in enumerate(self.seconds) if i not in self.starts]
        return statistics.median(later or self.seconds)

    @property
    def trained(self) -> list[float]:
        """Wall time of each iteration in seconds, a process's first at most the median of the others: as if warm."""
        median = self.iteration_time
        return [min(value, median) if i in self.starts else value for i, value in enumerate(self.seconds)]

    @property
    def train_time(self) -> float:
        """Sum of the iterations' times, in seconds; without warm-up, data, validations and checkpoints."""
        return sum(self.trained)

    @property
    def warmup_time(self) -> float:
        """What the first iterations of the processes took above the median of the others: compilation, first use."""
        return sum(self.seconds) - self.train_time

    @property
    def stale(self) -> int:
        """Number of validations since the lowest value."""
        return self._plateaus[-1] if self.validations else 0

    @property
    def stalest(self) -> int:
        """The largest number of validations in a row that brought no new lowest value."""
        return max(self._plateaus, default=0)

    def dropped(self, plateau: int) -> int:
        """Return how often more than `plateau` validations brought no new lowest value, counted anew after each."""
        rate = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        scheduler = ReduceLROnPlateau(rate, factor=0.5, patience=plateau, threshold=0.0, eps=0.0)
        for _, value in self.validations:
            scheduler.step(value)
        return round(-math.log2(scheduler.get_last_lr()[0]))

    @property
    def _plateaus(self) -> list[int]:
        """After each validation, the number since the lowest value."""
        best, since, found = math.inf, 0, []
        for _, value in self.validations:
            since = 0 if value < best else since + 1
            best = min(best, value)
            found.append(since)
        return found


def blocks(
    values: Sequence[float], points: int = CURVE_POINTS, sizes: Sequence[int] = (1,)
) -> tuple[list[int], list[float]]:
    """Return the last index (from 1) and the mean of each of at most `points` equal blocks of a series.

    Args:
        values: one an iteration.
        points: at most so many blocks.
        sizes: points of each batch of an epoch, where values are means over batches.
    """
    size = math.ceil(len(values) / points)
    starts = range(0, len(values), size)
    ends = [min(start + size, len(values)) for start in starts]
    own = cycled(sizes, len(values))
    return ends, [mean_over_points(values[i:j], own[i:j]) for i, j in zip(starts, ends, strict=True)]
