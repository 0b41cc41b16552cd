"""The images of a run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.data.images import load
from replications.flows.density.images import dequantise
from replications.tasks.images.evaluation import pooled
from replications.tasks.splits import Kind, TestSet, TrainBatches, TrainSet, at_random, mapped

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.flow_matching.experiments.images.declaration import FlowMatchingImageConfig


class Images:
    """The images of a run, values 0..L-1 `(N, C, H, W)` with their classes, on the CPU.

    Attributes:
        train: training images.
        test: test images.
        levels: L.
        classes: number of classes.
        shape: (C, H, W) after pooling.
        sizes: images of each batch of an epoch.
    """

    def __init__(self, run: Run, config: FlowMatchingImageConfig) -> None:
        self._run, self._flip = run, config.flip
        train, test = load(config.data, "train"), load(config.data, "test")
        self.levels, self.classes = round(train.white) + 1, train.classes
        self.train = TrainSet(pooled(train.images, config.pool), train.labels)
        self.test = TestSet(pooled(test.images, config.pool), test.labels)
        c, h, w = self.train.points.shape[1:]
        self.shape = (c, h, w)
        self._batches = TrainBatches(run, self.train, config.batch)
        self.sizes = self._batches.sizes

    def batch(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Return training images x `(B, C, H, W)` and their classes `(B,)`; a pure function of the iteration."""
        v, labels = self._batches(iteration), self._batches.labels(iteration)
        generator = self._run.torch_generator(f"noise/{iteration}")
        if self._flip:
            mirrored = torch.rand(len(v), generator=generator) < 0.5
            v = torch.where(mirrored[:, None, None, None], v.flip(3), v)
        x = dequantise(v, self.levels, generator)
        return x.to(self._run.device), labels.to(self._run.device)

    def drawn(self, part: Kind, n: int, stream: str) -> Kind:
        """Return n images of a part, drawn at random; all where n is 0."""
        return at_random(part, n, self._run.torch_generator(stream))

    def as_bytes(self, part: Kind) -> Kind:
        """Return the images of a part as uint8 with white 255."""
        return mapped(part, partial(to_bytes, levels=self.levels))

    def classes_at_random(self, n: int) -> Tensor:
        """Return n classes `(n,)`, distributed as in the training images; always the same."""
        labels = self.train.labels
        assert labels is not None  # given above
        return labels[torch.randint(len(labels), (n,), generator=self._run.torch_generator("classes"))]


def to_bytes(v: Tensor, levels: int) -> Tensor:
    """Return values 0..L-1 as uint8 with white 255."""
    return (v * (255 / (levels - 1))).round().byte()
