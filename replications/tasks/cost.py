"""What a training step costs: memory, and time beside another method's step."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor

from bench.measure.memory import peak_memory
from replications.flows.density.flow import Flow

Loss = Callable[[int], Tensor]
"""Iteration -> scalar loss."""


class AddedCost(NamedTuple):
    """Time of a step over another's, in percent added: of the whole step, and of an evaluation of the field."""

    step: float
    evaluation: float


def step_memory(loss: Loss, parameters: Iterable[Tensor], device: str, warmup: int = 0) -> int:
    """Return the peak memory of one training step's forward and backward pass in bytes, gradients included.

    Args:
        loss: whose first iteration is measured.
        parameters: by which the gradient is taken; their gradients from before are dropped, and count as new.
        device: where they are.
        warmup: passes before that one; what they allocate and keep does not count.
    """
    parameters = list(parameters)
    for _ in range(warmup):
        loss(0).backward()
    for parameter in parameters:
        parameter.grad = None
    with peak_memory(device) as peak:
        loss(0).backward()
    return peak.bytes


def added_cost(flow: Flow, loss: Loss, plain: Loss, repeats: int, clock: Callable[[], float]) -> AddedCost:
    """Return what a method adds to another's step, on the same weights, the two timed in turns.

    With t, n the time and the evaluations of a step and t', n' those of the other: 100 (t / t' - 1) and
    100 (t n' / (n t') - 1), the medians over the repeats.

    Args:
        flow: whose gradient is taken.
        loss: of the method.
        plain: of the one it is compared with.
        repeats: steps of each, on the first batches.
        clock: reads the time in seconds, after the device has finished.
    """
    steps, evaluations = [], []
    for i in range(repeats):
        (seconds, n), (seconds_plain, n_plain) = (_timed(flow, one, i, clock) for one in (loss, plain))
        steps.append(100 * (seconds / seconds_plain - 1))
        evaluations.append(100 * (seconds / n / (seconds_plain / n_plain) - 1))
    return AddedCost(statistics.median(steps), statistics.median(evaluations))


def _timed(flow: Flow, loss: Loss, iteration: int, clock: Callable[[], float]) -> tuple[float, int]:
    """Return the time of a step's loss and gradient, and its evaluations, forward and backward."""
    flow.counter.reset()
    start = clock()
    loss(iteration).backward()
    return clock() - start, flow.counter.forward_evaluations + flow.counter.backward_evaluations
