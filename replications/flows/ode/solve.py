"""Solve dy/dt = f(t, y), with three ways to its gradient.

| gradient | how | memory of N steps |
|---|---|---|
| `backprop` | autograd through the solver; exact for the computed solution | every evaluation |
| `adjoint` | a second solve, backward in time (torchdiffeq's, chen2018neural); as exact as both | none |
| `checkpoint` | autograd through each accepted step, run again; equals `backprop` | N states |

In `backprop` and `checkpoint` the accepted step sizes are constants. For `adjoint` and `checkpoint` the
parameters get gradients only if the field is an `nn.Module` that owns them; all else is constant.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from replications.flows.errors import RequestError
from replications.flows.ode.adjoint import adjoint
from replications.flows.ode.checkpoint import Checkpointed
from replications.flows.ode.counter import Counter
from replications.flows.ode.guards import Diverged, GuardedField, NFEBudget, Underflow
from replications.flows.ode.integrate import Checkpoints, Integrator
from replications.flows.ode.library import equal_steps, integrate
from replications.flows.ode.solver import ADAPTIVE, ONE_STEP, Solver
from replications.flows.ode.state import Field, join, shapes_of, split

__all__ = ["Diverged", "Gradient", "NFEBudget", "Solver", "Underflow", "solve", "trajectory"]

Gradient = Literal["backprop", "adjoint", "checkpoint"]
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
        field: f, called as `field(t, y)` with a scalar t; returns what has the structure and shapes of y.
        state: y(t0), a tensor or a tuple of tensors.
        t0: start; no gradient.
        t1: end; no gradient.
        solver: method, tolerances or steps, budget.
        gradient: `backprop`, `adjoint` or `checkpoint`; see the table of this module.
        adjoint_solver: steers the second solve of `adjoint`; as `solver` by default.
        compiled: put the steps of `checkpoint` through torch.compile, forward and backward, and those of a solve
            without gradient by the same methods; see `step.compiled_steps`.
        counter: counts the evaluations of the field, forward and backward.

    Raises:
        Underflow: the step size fell below what t resolves; for `adjoint` possibly in the backward pass.
        NFEBudget: more than `solver.max_nfe` evaluations.
        Diverged: state or error estimate not finite; for `adjoint` possibly in the backward pass.
        RequestError: a method without this gradient, fixed steps without a number, a time that needs a gradient.
    """
    _check_request(solver, gradient, compiled)
    guarded, y, times = _prepare(field, state, (t0, t1), solver, counter)
    params: dict[str, Tensor] = _parameters(field)
    if times[0] == times[1]:
        return state
    differentiate = torch.is_grad_enabled() and any(x.requires_grad for x in (y, *params.values()))
    if differentiate:
        _check_gradient(solver, gradient)
    if differentiate and gradient == "checkpoint":
        integrator = Integrator(guarded, params, compiled)
        end = Checkpointed.apply(integrator, _steps(integrator, times), y, *params.values())
    elif differentiate and gradient == "adjoint":
        end = adjoint(guarded, y, times, tuple(params.values()), adjoint_solver or solver)
    elif gradient != "backprop" and _has_step(solver):  # less overhead a step than torchdiffeq's, or compiled
        with torch.no_grad():
            end = _steps(Integrator(guarded, params, compiled), times)(y, Checkpoints(keep=False))
    else:
        with nullcontext() if gradient == "backprop" else torch.no_grad():
            end = integrate(guarded, y, times)[-1]
    guarded.finish(end)
    result: State = split(end, guarded.shapes)
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
    """
    guarded, y, at = _prepare(field, state, times, solver, counter)
    states = integrate(guarded, y, at)
    guarded.finish(states[-1])
    result: State = split(states, guarded.shapes)
    return result


def _check_request(solver: Solver, gradient: str, compiled: bool) -> None:
    if gradient not in get_args(Gradient):
        raise RequestError(f"unknown gradient {gradient!r}; use one of {', '.join(get_args(Gradient))}")
    if solver.fixed and solver.steps is None:
        raise RequestError(
            f"{solver.method} takes equal steps; say how many: Solver({solver.method!r}, steps=...)"
        )
    if compiled and gradient != "checkpoint":
        raise RequestError(f"only gradient='checkpoint' has a compiled step, not {gradient!r}")


def _check_gradient(solver: Solver, gradient: str) -> None:
    """Refuse what would give no gradient, or that of another solution."""
    if gradient == "backprop" and solver.method.startswith("scipy:"):
        raise RequestError(
            f"{solver.method} leaves torch, where autograd can not follow; use gradient='adjoint'"
        )
    if gradient == "checkpoint" and solver.method not in (*ONE_STEP, *ADAPTIVE):
        methods = ", ".join((*ONE_STEP, *ADAPTIVE))
        raise RequestError(
            f"{solver.method} has no checkpointed step; use gradient='adjoint' or one of {methods}"
        )
    if gradient == "checkpoint" and solver.adaptive and not solver.step_to_end:
        raise RequestError(
            "gradient='checkpoint' needs a solver that steps to the end; leave out step_to_end=False"
        )


def _prepare(
    field: Field, state: Any, times: Iterable[float | Tensor], solver: Solver, counter: Counter | None
) -> tuple[GuardedField, Tensor, Tensor]:
    """Return the guarded field, the state as one tensor and the times in float64."""
    times = list(times)
    if any(isinstance(t, Tensor) and t.requires_grad for t in times):
        raise RequestError("the times of a solve get no gradient; detach them")
    shapes = shapes_of(state)
    y = join(state, shapes)
    at = [float(t) for t in times]
    guarded = GuardedField(field, shapes, solver, at[0], at[-1], counter or Counter())
    return guarded, y, torch.tensor(at, dtype=torch.float64, device=y.device)


def _parameters(field: Field) -> dict[str, Tensor]:
    """Return the parameters that need a gradient, by name."""
    named = field.named_parameters() if isinstance(field, nn.Module) else ()
    return {name: p for name, p in named if p.requires_grad}


def _steps(integrator: Integrator, times: Tensor) -> Callable[[Tensor, Checkpoints], Tensor]:
    """Return the integration from the first time to the last."""
    if integrator.guarded.solver.adaptive:
        return functools.partial(integrator.adaptive, float(times[0]))
    return functools.partial(integrator.fixed, equal_steps(times, integrator.guarded.solver.steps).tolist())


def _has_step(solver: Solver) -> bool:
    """Return whether the integrator takes the steps of this solver."""
    return solver.method in ONE_STEP or (solver.adaptive and solver.step_to_end)
