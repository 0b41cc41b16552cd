r"""What a classifier is worth on test images.

| quantity | code | equation |
|---|---|---|
| accuracy, in % | `Accuracy.percent` | 100 p, p the share of the test images that are classified rightly |
| its standard error, in % | `Accuracy.se` | 100 sqrt(p (1 - p) / n) |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from replications.flows.ode.counter import Counter
from replications.tasks.splits import TestSet, held_out

if TYPE_CHECKING:
    from bench.execution.run import Run

TEST_BATCH = 1000
"""Test images classified together."""


@dataclass(frozen=True)
class Accuracy:
    """How many of n test images were classified rightly, and the evaluations of a forward pass, mean over batches."""

    right: int
    n: int
    nfe: float

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
        share = self.right / self.n
        return 100 * math.sqrt(share * (1 - share) / self.n)


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
    counter.reset()
    parts = held_out(test).split(batch)
    assert test.labels is not None  # classes are what is tested
    found = torch.cat([model(prepare(part)).argmax(1).cpu() for part in parts])
    right = int((found == test.labels.cpu()).sum())
    return Accuracy(right, len(test), counter.forward_evaluations / len(parts))


def record_accuracy(run: Run, found: Accuracy, protocol: str, qualifier: str = "") -> None:
    """Record accuracy and error in percent, with their standard error."""
    key = f"[{qualifier}]" if qualifier else ""
    run.metric(f"test_accuracy{key}", found.percent, protocol, found.n, found.se)
    run.metric(f"test_error{key}", found.error, protocol, found.n, found.se)
