"""Solve dy/dt = f(t, y), with several ways to its gradient.

| gradient | how | memory of N steps |
|---|---|---|
| `backprop` | autograd through torchdiffeq's solver; exact for the computed solution | every evaluation |
| `adjoint` | a second solve, backward in time (torchdiffeq's, chen2018neural); as exact as both | none |
| `checkpoint` | autograd through each accepted step, run again; equals `backprop` | N states |
| `tape` | autograd through each accepted step, whose graph is kept; equals `backprop` | every evaluation |
| `auto` | `tape` for as many steps as a quarter of the free memory holds, `checkpoint` for the others | between both |

In all but `adjoint` the accepted step sizes are constants. Every tensor that the value of the field depends on gets its
gradient, whether the field owns it or not; where it can not, the solve is refused.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

from torch import Tensor

from replications.flows.errors import RequestError
from replications.flows.ode.adjoint import AdjointField
from replications.flows.ode.counter import Counter
from replications.flows.ode.gradients import Gradient, GradientOf, check_request
from replications.flows.ode.guards import Diverged, GuardedField, NFEBudget, Underflow
from replications.flows.ode.internals import transformed
from replications.flows.ode.library import integrate
from replications.flows.ode.solver import Solver
from replications.flows.ode.state import Field, as_tensor, read_state, read_times, split

__all__ = ["Diverged", "Gradient", "NFEBudget", "Solver", "Underflow", "solve", "trajectory"]

State = TypeVar("State", Tensor, tuple[Tensor, ...])
DEFAULT = Solver()


def solve(
    field: Field,
    state: State,
    t0: float | Tensor,
    t1: float | Tensor,
    solver: Solver = DEFAULT,
    gradient: str = "checkpoint",
    adjoint_solver: Solver | None = None,
    compiled: bool = False,
    counter: Counter | None = None,
) -> State:
    """Return y(t1), where dy/dt = f(t, y) and y(t0) = `state`; t1 may lie before t0.

    Args:
        field: f, called as `field(t, y)` with a scalar t; returns what has the structure, shapes and type of y.
        state: y(t0), a tensor or a tuple of tensors, float32 or float64; one without elements is returned as it is.
        t0: start; no gradient.
        t1: end; no gradient.
        solver: method, tolerances or steps, budget.
        gradient: `backprop`, `adjoint`, `checkpoint`, `tape` or `auto`; see the table of this module.
        adjoint_solver: steers the second solve of `adjoint`; as `solver` by default.
        compiled: put the steps of `checkpoint`, `tape` and `auto` through torch.compile, forward and backward, and
            those of a solve without gradient by the same methods; see `step.compiled_steps`.
        counter: counts the evaluations of the field, forward and backward. To find what the field depends on, a field
            that uses more than its own parameters is evaluated once more, uncounted, and so it is for `adjoint` and
            for compiled fixed steps.

    Raises:
        Underflow: the step size fell below what t resolves; for `adjoint` possibly in the backward pass.
        NFEBudget: more than `solver.max_nfe` evaluations.
        Diverged: state or error estimate not finite; for `adjoint` possibly in the backward pass.
        RequestError: a state, times or a field that can't be solved; a method without this gradient; fixed steps
            without a number; a field that this gradient would get wrong, possibly found in the backward pass.
    """
    check_request(solver, gradient, compiled)
    y, shapes = read_state(state)
    at = read_times((t0, t1))
    if at[0] == at[1] or y.numel() == 0:
        return state
    kind = AdjointField if gradient == "adjoint" else GuardedField
    guarded = kind(field, shapes, solver, at[0], at[1], counter or Counter(), y.device)
    with guarded.autocast.again():
        end = GradientOf(guarded, as_tensor(at, y), gradient, compiled).end(y, adjoint_solver or solver)
    guarded.finish(end)
    result: State = split(end, shapes)
    return result


def trajectory(
    field: Field, state: State, times: Tensor, solver: Solver = DEFAULT, counter: Counter | None = None
) -> State:
    """Return y at every time `(T, ...)`, where y(times[0]) = `state`; gradients by `backprop`.

    Fixed steps end on every time: one between two times where the solver's `steps` is None, else at least
    `steps` in all, none longer than an equal share. An adaptive method with `step_to_end` ends on each too.

    Raises:
        Underflow: as `solve`.
        NFEBudget: as `solve`.
        Diverged: as `solve`.
        RequestError: as `solve`; times that do not rise or fall throughout.
    """
    y, shapes = read_state(state)
    at = read_times(times)
    _check_order(at)
    if transformed():
        raise RequestError(
            "torch.func can't follow a trajectory; use solve from time to time, by gradient='backprop'"
        )
    if len(at) == 1 or y.numel() == 0:
        still: State = split(y.expand(len(at), *y.shape), shapes)
        return still
    guarded = GuardedField(field, shapes, solver, at[0], at[-1], counter or Counter(), y.device)
    states = integrate(guarded, y, as_tensor(at, y))
    guarded.finish(states[-1])
    result: State = split(states, shapes)
    return result


def _check_order(times: list[float]) -> None:
    if not times:
        raise RequestError("a trajectory needs at least one time")
    signs = {(after > t) - (after < t) for t, after in pairwise(times)}
    if len(signs) > 1 or 0 in signs:
        raise RequestError("the times of a trajectory must rise throughout, or fall throughout")
