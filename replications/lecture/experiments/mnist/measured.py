r"""What a trained classifier does and takes, and what its epochs came to: values, computed without a run.

| quantity | code | equation |
|---|---|---|
| mean loss of an epoch | `Epochs.losses` | sum_i n_i v_i / sum_i n_i over batches of n_i images with mean losses v_i |
| accuracy after an epoch, in % | `Epochs.accuracy` | 100 less the error |
| memory | `peak_of_step` | peak bytes of one loss and gradient, once such a step has been done |
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional

from replications.flows.means import mean_over_points
from replications.flows.ode.solve import Solver
from replications.flows.training.log import Log
from replications.lecture.experiments.mnist.classifier import Classifier, with_solver
from replications.tasks.classification import Accuracy, accuracy
from replications.tasks.cost import step_memory
from replications.tasks.splits import TestSet, TrainSet


def classified_by(model: Classifier, test: TestSet, solver: Solver) -> Accuracy:
    """Return how well a trained classifier does with a solver."""
    other = with_solver(model, solver, "backprop")
    return accuracy(other, test, counter=other.block.counter)


class Epochs(NamedTuple):
    """Of each epoch: mean loss in nats, NFE forward and backward; of each test: epochs done and accuracy in %."""

    losses: list[float]
    nfe_forward: list[float]
    nfe_backward: list[float]
    tested_after: list[float]
    accuracy: list[float]


def by_epoch(log: Log, sizes: Sequence[int]) -> Epochs:
    """Return what the epochs of a training came to; the last may have been ended early.

    Args:
        log: of the training; its validations are test errors in %.
        sizes: images of each batch of an epoch.
    """
    epochs = [slice(i, i + len(sizes)) for i in range(0, len(log.losses), len(sizes))]
    forward, backward = (
        [statistics.fmean(series[part]) for part in epochs] for series in (log.nfe_forward, log.nfe_backward)
    )
    return Epochs(
        [mean_over_points(losses := log.losses[part], sizes[: len(losses)]) for part in epochs],
        forward,
        backward,
        [done / len(sizes) for done, _ in log.validations],
        [100 - error for _, error in log.validations],
    )


def peak_of_step(model: nn.Module, batch: TrainSet, device: str) -> int:
    """Return the peak bytes of one loss and gradient; what is allocated once and kept is no part of it."""

    def loss(_: int) -> Tensor:
        return functional.cross_entropy(model(batch.points), cast(Tensor, batch.labels))

    return step_memory(loss, model.parameters(), device, warmup=1)


def memory_by_steps(
    model: Classifier, batch: TrainSet, gradient: str, steps: Sequence[int], device: str
) -> list[int]:
    """Return the peak bytes of a training step at each number of Euler steps, by a kind of gradient."""
    return [
        peak_of_step(with_solver(model, Solver("euler", steps=n), gradient), batch, device) for n in steps
    ]
