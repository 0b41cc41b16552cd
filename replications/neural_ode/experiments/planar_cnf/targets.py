"""What a planar flow is trained on: an energy, by points of the base, or a set, by points of the data."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from bench.data import energies2d
from replications.flows.density.flow import Prior
from replications.flows.training.host import Streams
from replications.tasks.splits import TestSet, TrainSet


class Points(Protocol):
    """Fresh points without end, those of a test apart from those of the training."""

    def batch(self, iteration: int, n: int) -> TrainSet:
        """Return the n points of an iteration."""

    def test(self, n: int) -> TestSet:
        """Return n points to test on."""


class BasePoints:
    """Fresh points z `(N, D)` of a base density; density matching needs no others.

    Args:
        run: gives the streams.
        prior: the density.
        device: where the points go.
    """

    def __init__(self, run: Streams, prior: Prior, device: str) -> None:
        self._run, self._prior, self._device = run, prior, device

    def batch(self, iteration: int, n: int) -> TrainSet:
        """Return the n points of an iteration, from the stream `batch/<iteration>`."""
        return TrainSet(self._drawn(n, f"batch/{iteration}"))

    def test(self, n: int) -> TestSet:
        """Return n points, from the stream `test`."""
        return TestSet(self._drawn(n, "test"))

    def _drawn(self, n: int, stream: str) -> Tensor:
        generator = self._run.torch_generator(stream)
        return self._prior.sample(n, generator, dtype=torch.float32, device=self._device)


def is_energy(target: str) -> bool:
    """Whether a target is an energy, not a set of points."""
    return target in energies2d.names()
