"""What a training step costs: memory, and time beside another method's step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor

from bench.measure.clock import quotient, take_turns
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
    100 (t n' / (n t') - 1), quotients as `bench.measure.clock.quotient` takes them.

    Args:
        flow: whose gradient is taken.
        loss: of the method.
        plain: of the one it is compared with.
        repeats: steps of each, on the first batches.
        clock: reads the time in seconds, after the device has finished.
    """
    arms = {"mine": Steps(flow, loss), "other": Steps(flow, plain)}
    seconds = take_turns(arms, repeats, clock, warmup=0)
    each = {
        name: [t / n for t, n in zip(times, arms[name].evaluations, strict=True)]
        for name, times in seconds.items()
    }
    return AddedCost(*(100 * (quotient(by["mine"], by["other"]) - 1) for by in (seconds, each)))


class Steps:
    """A step's loss and gradient at iteration 0, 1... of each call, with its evaluations, forward and backward."""

    def __init__(self, flow: Flow, loss: Loss) -> None:
        self.flow, self.loss = flow, loss
        self.iterations = itertools.count()
        self.evaluations: list[int] = []

    def __call__(self) -> None:
        """Take the next one."""
        self.flow.counter.reset()
        self.loss(next(self.iterations)).backward()
        counter = self.flow.counter
        self.evaluations.append(counter.forward_evaluations + counter.backward_evaluations)
