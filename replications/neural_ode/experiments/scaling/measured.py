r"""What a forward and backward pass costs, and what a tolerance buys: values, computed from model and state alone.

| quantity | code | equation |
|---|---|---|
| memory, time of a pass | `PassCost` | peak bytes and median seconds of loss and gradient, by parameters and input |
| error | `Rung.error` | \|h(1) - h*(1)\| / \|h*(1)\|, h* at a far smaller tolerance |
| error of the gradient | `Rung.gradient_error` | likewise, by backpropagation at that tolerance |
| NFE | `Rung.nfe_forward`, `nfe_backward` | evaluations of f in one solve and in its gradient |
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.measure.clock import reader, take_turns
from bench.measure.memory import peak_memory
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver
from replications.neural_ode.experiments.scaling.models import SolutionMap, mean_square
from replications.tasks.gradients import flat_gradient, relative_error

Pass = Callable[[], None]
"""Work to measure."""


class PassCost(NamedTuple):
    """Peak memory of a pass in bytes, and its median time in seconds."""

    memory: int
    seconds: float


def gradient_pass(model: nn.Module, state: Tensor) -> Pass:
    """Return loss and gradient of a model by every parameter and by its input `(B, D)`, as work to measure."""

    def work() -> None:
        model.zero_grad()
        mean_square(model(state.detach().requires_grad_())).backward()

    return work


def pass_memory(work: Pass, device: str) -> int:
    """Return the peak memory in bytes of a pass that has been done once."""
    work()
    with peak_memory(device) as peak:
        work()
    return peak.bytes


def pass_costs(passes: Sequence[Pass], device: str, turns: int) -> list[PassCost]:
    """Return what passes cost: memory first, apart from all timing, then the time, in turns."""
    memory = [pass_memory(work, device) for work in passes]
    seconds = median_times(passes, device, turns)
    return [PassCost(*both) for both in zip(memory, seconds, strict=True)]


def median_times(works: Sequence[Callable[[], object]], device: str, turns: int) -> list[float]:
    """Return the median time of each piece of work in seconds; they take turns, so that no drift tells on a slope."""
    arms = {str(i): work for i, work in enumerate(works)}
    return [statistics.median(seconds) for seconds in take_turns(arms, turns, reader(device)).values()]


@dataclass(frozen=True)
class Differentiated:
    """h(1) `(B, D)`, the loss's gradient `(P,)` by input and parameters, evaluations forward and backward."""

    end: Tensor
    gradient: Tensor
    nfe_forward: int
    nfe_backward: int


def by_dopri5(
    field: nn.Module, tolerance: float, gradient: str, counter: Counter | None = None
) -> SolutionMap:
    """Return the solution map of dopri5 at rtol = atol = tolerance."""
    return SolutionMap(field, Solver("dopri5", rtol=tolerance, atol=tolerance), gradient, counter)


def differentiate(field: nn.Module, state: Tensor, tolerance: float, gradient: str) -> Differentiated:
    """Return the solution at time 1 from a state `(B, D)`, and the loss's gradient."""
    counter, state = Counter(), state.detach().requires_grad_()
    end = by_dopri5(field, tolerance, gradient, counter)(state)
    by = flat_gradient(mean_square(end), [state, *field.parameters()])
    return Differentiated(end.detach(), by, counter.forward_evaluations, counter.backward_evaluations)


class Rung(NamedTuple):
    """What one tolerance gives and takes; see the table. The time is that of a solve without gradient, in seconds."""

    error: float
    gradient_error: float
    nfe_forward: int
    nfe_backward: int
    seconds: float


def rung(
    field: nn.Module,
    state: Tensor,
    tolerance: float,
    gradient: str,
    exact: Differentiated,
    seconds: float,
) -> Rung:
    """Return what dopri5 gives and takes at a tolerance.

    Args:
        field: f, in float64.
        state: h(0) `(B, D)`.
        tolerance: rtol = atol.
        gradient: of the solve.
        exact: what counts as the truth.
        seconds: that a solve takes.
    """
    found = differentiate(field, state, tolerance, gradient)
    errors = relative_error(found.end, exact.end), relative_error(found.gradient, exact.gradient)
    return Rung(*errors, found.nfe_forward, found.nfe_backward, seconds)


def ladder(
    field: nn.Module,
    state: Tensor,
    tolerances: Sequence[float],
    gradient: str,
    reference_tolerance: float,
    device: str,
    turns: int,
) -> list[Rung]:
    """Return a rung for each tolerance, against backpropagation through a solve at the reference tolerance.

    Their solves are timed in turns.
    """
    exact = differentiate(field, state, reference_tolerance, "backprop")
    solves = [partial(by_dopri5(field, tolerance, gradient), state) for tolerance in tolerances]
    with torch.no_grad():
        times = median_times(solves, device, turns)
    pairs = zip(tolerances, times, strict=True)
    return [rung(field, state, tolerance, gradient, exact, seconds) for tolerance, seconds in pairs]
