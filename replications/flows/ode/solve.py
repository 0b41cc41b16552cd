"""Solve dy/dt = f(t, y), with three ways to its gradient: the one door to torchdiffeq.

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

import scipy.integrate
import torch
import torchdiffeq
from torch import Tensor, nn

from replications.flows.errors import RequestError
from replications.flows.ode.checkpoint import Checkpointed
from replications.flows.ode.guards import Diverged, Field, FlatField, NFEBudget, Underflow, Watch
from replications.flows.ode.integrate import March, Tape
from replications.flows.ode.solver import ADAPTIVE, ONE_STEP, Solver

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
            without gradient by the same methods; see `checkpoint.compiled_steps`. A `CountedField` still counts, by
            the stages.

    Raises:
        Underflow: the step size fell below what t resolves; for `adjoint` possibly in the backward pass.
        NFEBudget: more than `solver.max_nfe` evaluations.
        Diverged: state or error estimate not finite; for `adjoint` possibly in the backward pass.
        RequestError: a method without this gradient, fixed steps without a number, a time that needs a gradient.
    """
    _check_request(solver, gradient, compiled)
    watch, y, times = _prepare(field, state, (t0, t1), solver)
    params: dict[str, Tensor] = _parameters(field)
    if times[0] == times[1]:
        return state
    differentiate = torch.is_grad_enabled() and any(x.requires_grad for x in (y, *params.values()))
    if differentiate:
        _check_gradient(solver, gradient)
    if differentiate and gradient == "checkpoint":
        end = _checkpoint(watch, y, times, params, compiled)
    elif differentiate and gradient == "adjoint":
        end = _adjoint(watch, y, times, tuple(params.values()), adjoint_solver or solver)
    elif gradient != "backprop" and _has_step(solver):  # less overhead a step than torchdiffeq's, or compiled
        with torch.no_grad():
            end = _march(March(watch, params, compiled), times)(y, Tape(keep=False))
    else:
        with nullcontext() if gradient == "backprop" else torch.no_grad():
            end = _integrate(watch, y, times)[-1]
    watch.finish(end)
    return watch.flat.split(end)


def trajectory(field: Field, state: State, times: Tensor, solver: Solver = DEFAULT) -> State:
    """Return y at every time `(T, ...)`, where y(times[0]) = `state`; gradients by `backprop`.

    Fixed steps end on every time: one between two times where the solver's `steps` is None, else at least
    `steps` in all, none longer than an equal share. An adaptive method whose solver lands ends on each too.

    Raises:
        Underflow: as `solve`.
        NFEBudget: as `solve`.
        Diverged: as `solve`.
    """
    watch, y, times = _prepare(field, state, times, solver)
    states = _integrate(watch, y, times)
    watch.finish(states[-1])
    return watch.flat.split(states)


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
    if gradient == "checkpoint" and solver.adaptive and not solver.land:
        raise RequestError("gradient='checkpoint' needs a solver that lands on t1; leave out land=False")


def _prepare(
    field: Field, state: Any, times: Iterable[float | Tensor], solver: Solver
) -> tuple[Watch, Tensor, Tensor]:
    """Return the watched field, the state as one tensor and the times in float64."""
    times = list(times)
    if any(isinstance(t, Tensor) and t.requires_grad for t in times):
        raise RequestError("the times of a solve get no gradient; detach them")
    flat = FlatField(field, None if isinstance(state, Tensor) else [part.shape for part in state])
    y = flat.join(state)
    at = [float(t) for t in times]
    return Watch(flat, solver, at[0], at[-1]), y, torch.tensor(at, dtype=torch.float64, device=y.device)


def _parameters(field: Field) -> dict[str, Tensor]:
    """Return the parameters that need a gradient, by name."""
    named = field.named_parameters() if isinstance(field, nn.Module) else ()
    return {name: p for name, p in named if p.requires_grad}


def _integrate(watch: Watch, y: Tensor, times: Tensor) -> Tensor:
    """Return torchdiffeq's solution at all times."""
    states: Tensor = torchdiffeq.odeint(watch, y, times, **_arguments(watch, times))
    if len(states) < len(times):  # SciPy gave up, which torchdiffeq passes on as fewer times
        stop = f"{watch.solver.method} gave up before t = {watch.t1:g}"
        raise Underflow(stop, float(watch.last_t), watch.nfe)
    return states


def _arguments(watch: Watch, times: Tensor) -> dict[str, Any]:
    """Return how torchdiffeq is to solve."""
    method, options = _method(watch.solver, times)
    options["norm"] = watch.flat.norm
    return {"method": method, "options": options, "rtol": watch.solver.rtol, "atol": watch.solver.atol}


def _method(solver: Solver, times: Tensor) -> tuple[str, dict[str, Any]]:
    """Return torchdiffeq's name of a method and its options for a solve through these times."""
    if solver.method.startswith("scipy:"):
        return "scipy_solver", {"solver": _scipy_method(solver.method.removeprefix("scipy:"))}
    if solver.steps is not None:
        return solver.method, {"grid_constructor": lambda field, y, t: _equal_steps(t, solver.steps)}
    return solver.method, {"step_t": times[1:]} if solver.adaptive and solver.land else {}


@functools.cache
def _scipy_method(name: str) -> type:
    """Return SciPy's solver, deaf to `min_step`: torchdiffeq always passes it, most of them warn of it."""
    base = getattr(scipy.integrate, name)

    def start(self: Any, *args: Any, min_step: float = 0, **options: Any) -> None:
        base.__init__(self, *args, **options)

    return type(name, (base,), {"__init__": start})


def _equal_steps(times: Tensor, steps: int | None) -> Tensor:
    """Return a grid through all times with no step longer than an equal share of the whole."""
    assert steps is not None  # only methods with fixed steps come here
    lengths = times.diff()
    counts = (lengths / lengths.sum() * steps - 1e-6).ceil().clamp(min=1).int().tolist()
    pieces = [a + d * torch.arange(n).to(times) / n for a, d, n in zip(times, lengths, counts)]
    return torch.cat((*pieces, times[-1:]))


def _adjoint(watch: Watch, y: Tensor, times: Tensor, params: tuple[Tensor, ...], solver: Solver) -> Tensor:
    """Return y(t1), with torchdiffeq's adjoint as its gradient."""
    if solver.adaptive:
        watch.watch_adjoint()
    # torchdiffeq runs the second solve in a time that increases from t0 to t1.
    method, options = _method(solver, watch.sign * times.flip(0))
    second = {"method": method, "options": options, "rtol": solver.rtol, "atol": solver.atol}
    return torchdiffeq.odeint_adjoint(
        watch,
        y,
        times,
        **_arguments(watch, times),
        **{f"adjoint_{name}": value for name, value in second.items()},
        adjoint_params=params,
    )[-1]


def _checkpoint(watch: Watch, y: Tensor, times: Tensor, params: dict[str, Tensor], compiled: bool) -> Tensor:
    """Return y(t1), with each accepted step run again for its gradient."""
    march = March(watch, params, compiled)
    return Checkpointed.apply(march, _march(march, times), Tape(), y, *params.values())


def _march(march: March, times: Tensor) -> Callable[[Tensor, Tape], Tensor]:
    """Return the march from the first time to the last."""
    if march.watch.solver.adaptive:
        return functools.partial(march.adaptive, float(times[0]))
    return functools.partial(march.fixed, _equal_steps(times, march.watch.solver.steps).tolist())


def _has_step(solver: Solver) -> bool:
    """Return whether a march takes the steps of this solver."""
    return solver.method in ONE_STEP or (solver.adaptive and solver.land)
