"""The points that a velocity is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from replications.flow_matching.experiments.toy.declaration import NORMAL
from replications.tasks.density2d.evaluation import fresh
from replications.tasks.splits import TrainBatches, TrainSet, to_train

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.flow_matching.experiments.toy.declaration import FlowMatchingToyConfig


class Pairs:
    """Batches of a run as a function of the iteration.

    Of a finite set: x1 in permuted epochs, x0 at random where the source is a set. Else fresh points of both.

    Args:
        run: gives the streams.
        config: names the laws and the sizes of their sets.

    Attributes:
        data: all points x1 there are, None where they are fresh.
        source: all points x0, None where they are normal or fresh.
        sizes: points of each batch of an epoch.
    """

    def __init__(self, run: Run, config: FlowMatchingToyConfig) -> None:
        self._run, self._batch = run, config.batch
        self._data = fresh(run, config.data)
        self._source = None if config.source == NORMAL else fresh(run, config.source)
        self.data: TrainSet | None = None
        self.source: TrainSet | None = None
        self.sizes: Sequence[int] = (config.batch,)
        if config.train_points:
            self.data = self._data.pool(config.train_points)
            self._batches = TrainBatches(run, self.data, config.batch)
            self.sizes = self._batches.sizes
            if self._source is not None:
                self.source = self._source.pool(config.train_points, "train source")

    def __call__(self, iteration: int) -> tuple[Tensor | None, Tensor]:
        """Return x0 `(B, 2)`, None where it is normal, and x1 `(B, 2)`."""
        if self.data is None:
            x1 = to_train(self._data.batch(iteration, self._batch))
        else:
            x1 = self._batches(iteration)
        return self._x0(iteration, x1), x1

    def _x0(self, iteration: int, x1: Tensor) -> Tensor | None:
        if self._source is None:
            return None
        if self.source is None:
            return to_train(self._source.pool(len(x1), f"train source/{iteration}"))
        generator = self._run.torch_generator(f"source/{iteration}")
        rows = torch.randint(len(self.source), (len(x1),), generator=generator)
        return to_train(self.source)[rows.to(x1.device)]
