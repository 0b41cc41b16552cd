r"""What a classifier is worth on test images.

| quantity | code | equation |
|---|---|---|
| accuracy, in % | `Accuracy.percent` | 100 p, p the share of the test images that are classified rightly |
| its standard error, in % | `Accuracy.se` | see `bench.metrics.share`; copies of an image count as one |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.metrics.share import effective_size, share
from replications.flows.ode.counter import Counter, counted
from replications.tasks.splits import TestSet, held_out

if TYPE_CHECKING:
    from bench.execution.run import Run

TEST_BATCH = 1000
"""Test images classified together."""


@dataclass(frozen=True)
class Accuracy:
    """How many of n test images were classified rightly, and the evaluations of a forward pass, the mean over images.

    Args:
        right: how many.
        n: of how many.
        nfe: see above.
        effective: independent images among them, see `bench.metrics.share.effective_size`; all where it is None.
    """

    right: int
    n: int
    nfe: float
    effective: float | None = None

    @property
    def percent(self) -> float:
        """Share classified rightly, in %."""
        return 100 * self.right / self.n

    @property
    def error(self) -> float:
        """Share classified wrongly, in %."""
        return 100 * (self.n - self.right) / self.n

    @property
    def se(self) -> float:
        """Standard error of either, in %."""
        return share(self.right, self.n, self.effective).percent[1]


@torch.no_grad()
def accuracy(
    model: Callable[[Tensor], Tensor],
    test: TestSet,
    prepare: Callable[[Tensor], Tensor] = lambda x: x,
    counter: Counter | None = None,
    batch: int = TEST_BATCH,
) -> Accuracy:
    """Return how well a classifier does on a test set.

    Args:
        model: inputs -> logits `(B, classes)`.
        test: images and labels.
        prepare: images -> inputs.
        counter: of the model's evaluations of a field; it is reset.
        batch: images together.
    """
    counter = counter or Counter()
    points = held_out(test)
    assert test.labels is not None  # classes are what is tested
    found, nfe = counted(counter, lambda part: model(prepare(part)).argmax(1).cpu(), points.split(batch))
    right = int((torch.cat(found) == test.labels.cpu()).sum())
    return Accuracy(right, len(test), nfe, effective_size(points, test.labels))


def record_share(run: Run, key: str, answers: Tensor, labels: Tensor, points: Tensor, protocol: str) -> None:
    """Record the share in % of points `(N, *S)` whose answers `(N,)` are their labels, with its standard error."""
    right, n = int((answers == labels).sum()), len(points)
    percent, se = share(right, n, effective_size(points, labels)).percent
    run.metric(key, percent, protocol, n, se)


def record_accuracy(run: Run, found: Accuracy, protocol: str, qualifier: str = "") -> None:
    """Record accuracy and error in percent, with their standard error."""
    key = f"[{qualifier}]" if qualifier else ""
    run.metric(f"test_accuracy{key}", found.percent, protocol, found.n, found.se)
    run.metric(f"test_error{key}", found.error, protocol, found.n, found.se)
