r"""What a trained classifier does at another tolerance, how exact its gradient is, what its solves took in training.

| quantity | code | equation |
|---|---|---|
| error of the gradient | `gradient_error` | \|g - g*\| / \|g*\|, g* by backpropagation through the same solve |
| backward over forward | `Evaluations.ratio` | sum of the NFE backward over sum of the NFE forward |
| trend | `Evaluations.trend` | slope of the least-squares line through NFE forward against the iteration |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor, nn

from bench.stats import fit_line
from replications.flows.ode.block import ODEBlock
from replications.flows.training.log import Log
from replications.tasks.classification import Accuracy, accuracy
from replications.tasks.gradients import flat_gradient, relative_error
from replications.tasks.splits import TestSet


def classified_at(
    model: nn.Module, block: ODEBlock, test: TestSet, prepare: Callable[[Tensor], Tensor], tolerance: float
) -> Accuracy:
    """Return how well a network does on test images where its ODE block is solved at rtol = atol = tolerance."""
    kept = block.solver
    block.solver = dataclasses.replace(kept, rtol=tolerance, atol=tolerance)
    try:
        return accuracy(model, test, prepare, block.counter)
    finally:
        block.solver = kept


def gradient_error(model: nn.Module, block: ODEBlock, loss: Callable[[int], Tensor]) -> float:
    """Return |g - g*| / |g*| of the first batch's gradient by all parameters.

    Args:
        model: the network.
        block: its ODE block; g is what its own kind of gradient gives.
        loss: iteration -> scalar.
    """
    found = flat_gradient(loss(0), model.parameters())
    with differentiated_by(block, "backprop"):
        exact = flat_gradient(loss(0), model.parameters())
    return relative_error(found, exact)


@contextmanager
def differentiated_by(block: ODEBlock, gradient: str) -> Iterator[None]:
    """Let an ODE block get its gradient another way for a while."""
    kept, block.gradient = block.gradient, gradient
    try:
        yield
    finally:
        block.gradient = kept


class Evaluations(NamedTuple):
    """Evaluations over a training of n iterations, see the table."""

    ratio: float
    trend: float
    n: int


def evaluations(log: Log) -> Evaluations:
    """Return what the evaluations of a training come to."""
    forward, backward = log.nfe_forward, log.nfe_backward
    trend = fit_line(range(len(forward)), forward)
    return Evaluations(sum(backward) / sum(forward), trend.slope, trend.n)
