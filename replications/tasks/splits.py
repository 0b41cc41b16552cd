"""Data to train, to validate and to test on, as three types: an evaluation takes no other than its own.

Every experiment gets its data here: parts of a set that was read, or fresh points of a law, drawn from streams that
are apart by name. The parts of a set share no point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from replications.flows.training.batches import Batches
from replications.flows.training.host import Streams

Draw = Callable[[int, np.random.Generator], NDArray[Any]]
"""(n, generator) -> n points of a law, `(n, D)`."""


@dataclass(frozen=True)
class Part:
    """Points `(N, *S)`, with their labels `(N,)` where they have some."""

    points: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.points)


class TrainSet(Part):
    """Points to train on."""


class ValidationSet(Part):
    """Points by which a training chooses its weights or its rate."""


class TestSet(Part):
    """Points that no training and no choice has seen."""

    __test__ = False  # no test class, whatever pytest makes of its name


Kind = TypeVar("Kind", bound=Part)


def first(part: Kind, n: int) -> Kind:
    """Return the first n points of a part, all of them for n = 0."""
    return part if n == 0 else _rows(part, slice(n))


def at_random(part: Kind, n: int, generator: torch.Generator) -> Kind:
    """Return n points of a part, no two the same; the part as it is for n = 0 or as many as it has."""
    if n in (0, len(part)):
        return part
    return _rows(part, torch.randperm(len(part), generator=generator)[:n])


def mapped(part: Kind, f: Callable[[Tensor], Tensor]) -> Kind:
    """Return a part of the same kind whose points are f(points) `(N, *S')`; labels as they were."""
    return type(part)(f(part.points), part.labels)


def _rows(part: Kind, rows: slice | Tensor) -> Kind:
    return type(part)(part.points[rows], None if part.labels is None else part.labels[rows])


def held_out(part: TestSet) -> Tensor:
    """Return the points of a test set.

    Raises:
        TypeError: it is not one.
    """
    if not isinstance(part, TestSet):
        raise TypeError(f"an evaluation takes a TestSet, not {type(part).__name__}")
    return part.points


@dataclass(frozen=True)
class Split:
    """A set in three parts."""

    train: TrainSet
    validation: ValidationSet
    test: TestSet


def to_train(part: TrainSet) -> Tensor:
    """Return the points of a training set.

    Raises:
        TypeError: it is not one.
    """
    if not isinstance(part, TrainSet):
        raise TypeError(f"a training takes a TrainSet, not {type(part).__name__}")
    return part.points


def to_validate(part: ValidationSet) -> Tensor:
    """Return the points of a validation set.

    Raises:
        TypeError: it is not one.
    """
    if not isinstance(part, ValidationSet):
        raise TypeError(f"a validation takes a ValidationSet, not {type(part).__name__}")
    return part.points


class TrainBatches:
    """Batches of a training set as a function of the iteration; each epoch is a permutation of its points.

    Args:
        run: gives the streams.
        train: the set.
        batch: points a batch; an epoch's last may have fewer.

    Attributes:
        per_epoch: batches an epoch.
        sizes: points of each batch of an epoch.
    """

    def __init__(self, run: Streams, train: TrainSet, batch: int) -> None:
        self._points, self._labels = to_train(train), train.labels
        self._index = Batches(run, len(train), batch)
        self.per_epoch, self.sizes = self._index.per_epoch, self._index.sizes

    def __call__(self, iteration: int) -> Tensor:
        """Return the points `(B, *S)` of an iteration."""
        return self._points[self.index(iteration)]

    def labels(self, iteration: int) -> Tensor:
        """Return the labels `(B,)` of an iteration's points."""
        if self._labels is None:
            raise ValueError("the training set has no labels")
        return self._labels[self.index(iteration)]

    def index(self, iteration: int) -> Tensor:
        """Return which points of the set an iteration takes, `(B,)`."""
        return self._index(iteration).to(self._points.device)


class NumpyStreams(Protocol):
    """Named random streams of numpy: the same name gives the same draws, however often it is asked for."""

    def numpy_generator(self, stream: str, /) -> np.random.Generator:
        """Return a stream from its start."""


class Fresh:
    """Fresh points of a law, without end; the streams of training, validation and test are apart.

    Args:
        run: gives the streams.
        draw: the law.
        device: where the points go.
        dtype: their type.
    """

    def __init__(
        self, run: NumpyStreams, draw: Draw, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self._run, self._draw, self._to = run, draw, {"device": device, "dtype": dtype}

    def batch(self, iteration: int, n: int) -> TrainSet:
        """Return the n points of an iteration, from the stream `batch/<iteration>`."""
        return TrainSet(self._points(n, f"batch/{iteration}"))

    def pool(self, n: int, stream: str = "train") -> TrainSet:
        """Return n points for a training that has no more than them, from the stream `train` or `train <what>`."""
        if not _of_training(stream):
            raise ValueError(f"{stream!r} is no stream of the training")
        return TrainSet(self._points(n, stream))

    def validation(self, n: int, stream: str = "validation") -> ValidationSet:
        """Return n points, from the stream `validation`."""
        return ValidationSet(self._points(n, _apart(stream)))

    def test(self, n: int, stream: str = "test") -> TestSet:
        """Return n points, from the stream `test` or another of the evaluation's own."""
        return TestSet(self._points(n, _apart(stream)))

    def _points(self, n: int, stream: str) -> Tensor:
        return torch.tensor(self._draw(n, self._run.numpy_generator(stream)), **self._to)  # type: ignore[arg-type]


def _of_training(stream: str) -> bool:
    return stream.startswith(("batch/", "train"))


def _apart(stream: str) -> str:
    """Refuse the streams of the training."""
    if _of_training(stream):
        raise ValueError(f"{stream!r} is a stream of the training")
    return stream
