"""torchdiffeq's own solves: methods without a step of ours, several times, gradients by backpropagation."""

from __future__ import annotations

import functools
from functools import partial
from typing import Any

import scipy.integrate
import torch
import torchdiffeq
from torch import Tensor

from replications.flows.ode.guards import GuardedField, Underflow
from replications.flows.ode.solver import Solver
from replications.flows.ode.state import norm


def integrate(guarded: GuardedField, y: Tensor, times: Tensor) -> Tensor:
    """Return torchdiffeq's solution at all times, `(T, ...)`.

    Raises:
        Underflow: a method of SciPy gave up.
    """
    states: Tensor = torchdiffeq.odeint(guarded, y, times, **arguments(guarded, times))
    if len(states) < len(times):  # which torchdiffeq passes on as fewer times
        stop = f"{guarded.solver.method} gave up before t = {guarded.t1:g}"
        raise Underflow(stop, float(guarded.last_t), guarded.nfe)
    return states


def arguments(guarded: GuardedField, times: Tensor) -> dict[str, Any]:
    """Return how torchdiffeq is to solve."""
    method, options = method_of(guarded.solver, times)
    options["norm"] = partial(norm, shapes=guarded.shapes)
    return {"method": method, "options": options, "rtol": guarded.solver.rtol, "atol": guarded.solver.atol}


def method_of(solver: Solver, times: Tensor) -> tuple[str, dict[str, Any]]:
    """Return torchdiffeq's name of a method and its options for a solve through these times."""
    if solver.method.startswith("scipy:"):
        return "scipy_solver", {"solver": _scipy_method(solver.method.removeprefix("scipy:"))}
    if solver.steps is not None:
        return solver.method, {"grid_constructor": lambda field, y, t: equal_steps(t, solver.steps)}
    return solver.method, {"step_t": times[1:]} if solver.adaptive and solver.step_to_end else {}


def equal_steps(times: Tensor, steps: int | None) -> Tensor:
    """Return a grid through all times with no step longer than an equal share of the whole."""
    assert steps is not None  # only methods with fixed steps come here
    lengths = times.diff()
    counts = (lengths / lengths.sum() * steps - 1e-6).ceil().clamp(min=1)
    pieces = [a + d * torch.arange(int(n)).to(times) / int(n) for a, d, n in zip(times, lengths, counts)]
    return torch.cat((*pieces, times[-1:]))


@functools.cache
def _scipy_method(name: str) -> type:
    """Return SciPy's solver, deaf to `min_step`: torchdiffeq always passes it, most of them warn of it."""
    base = getattr(scipy.integrate, name)

    def start(self: Any, *args: Any, min_step: float = 0, **options: Any) -> None:
        base.__init__(self, *args, **options)

    return type(name, (base,), {"__init__": start})
