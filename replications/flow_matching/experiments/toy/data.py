"""The points that a velocity is trained on."""

from __future__ import annotations

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
    """Batches of a run as a function of the iteration: x1 in permuted epochs; x0 at random where the source is a set.

    Args:
        run: gives the streams.
        config: names the sets and their sizes.

    Attributes:
        data: all points x1 there are.
        source: all points x0, None where they are normal.
        sizes: points of each batch of an epoch.
    """

    def __init__(self, run: Run, config: FlowMatchingToyConfig) -> None:
        self._run = run
        self.data: TrainSet = fresh(run, config.data).pool(config.train_points)
        self.source: TrainSet | None = None
        if config.source != NORMAL:
            self.source = fresh(run, config.source).pool(config.train_points, "train source")
        self._batches = TrainBatches(run, self.data, config.batch)
        self.sizes = self._batches.sizes

    def __call__(self, iteration: int) -> tuple[Tensor | None, Tensor]:
        """Return x0 `(B, 2)`, None where it is normal, and x1 `(B, 2)`."""
        x1 = self._batches(iteration)
        if self.source is None:
            return None, x1
        generator = self._run.torch_generator(f"source/{iteration}")
        rows = torch.randint(len(self.source), (len(x1),), generator=generator)
        return to_train(self.source)[rows.to(x1.device)], x1
