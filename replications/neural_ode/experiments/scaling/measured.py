r"""What a forward and backward pass costs, and what a tolerance buys: values, computed from model and state alone.

| quantity | code | equation |
|---|---|---|
| memory, time of a pass | `PassCost` | peak bytes and median seconds of loss and gradient, by parameters and input |
| error | `Rung.error` | \|h(1) - h*(1)\| / \|h*(1)\|, h* at a far smaller tolerance |
| error of the gradient | `Rung.gradient_error` | likewise, by backpropagation at that tolerance |
| NFE | `Rung.nfe_forward`, `nfe_backward` | evaluations of f in one solve and in its gradient |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.measure.clock import time_repeats
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


def pass_cost(work: Pass, device: str, repeats: int) -> PassCost:
    """Return what a pass costs once it has been done: memory first, apart from all timing."""
    work()
    with peak_memory(device) as peak:
        work()
    return PassCost(peak.bytes, time_repeats(work, device=device, repeats=repeats).median)


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
    device: str,
    repeats: int,
) -> Rung:
    """Return what dopri5 gives and takes at a tolerance.

    Args:
        field: f, in float64.
        state: h(0) `(B, D)`.
        tolerance: rtol = atol.
        gradient: of the solve.
        exact: what counts as the truth.
        device: where the field is.
        repeats: timed solves.
    """
    found = differentiate(field, state, tolerance, gradient)
    solution_map = by_dopri5(field, tolerance, gradient)
    with torch.no_grad():
        timing = time_repeats(lambda: solution_map(state), device=device, repeats=repeats)
    errors = relative_error(found.end, exact.end), relative_error(found.gradient, exact.gradient)
    return Rung(*errors, found.nfe_forward, found.nfe_backward, timing.median)


def ladder(
    field: nn.Module,
    state: Tensor,
    tolerances: Sequence[float],
    gradient: str,
    reference_tolerance: float,
    device: str,
    repeats: int,
) -> list[Rung]:
    """Return a rung for each tolerance, against backpropagation through a solve at the reference tolerance."""
    exact = differentiate(field, state, reference_tolerance, "backprop")
    return [rung(field, state, tolerance, gradient, exact, device, repeats) for tolerance in tolerances]
