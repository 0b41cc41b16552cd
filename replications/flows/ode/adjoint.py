"""Optimise, then discretise: torchdiffeq's adjoint, a second solve backward in time (chen2018neural)."""

from __future__ import annotations

import torchdiffeq
from torch import Tensor

from replications.flows.ode.guards import GuardedField
from replications.flows.ode.library import arguments, method_of
from replications.flows.ode.solver import Solver


def adjoint(
    guarded: GuardedField, y: Tensor, times: Tensor, params: tuple[Tensor, ...], solver: Solver
) -> Tensor:
    """Return y(t1), with the adjoint's gradient; `solver` steers the second solve."""
    if solver.adaptive:
        guarded.check_adjoint_steps()
    # torchdiffeq runs the second solve in a time that increases from t0 to t1.
    method, options = method_of(solver, guarded.sign * times.flip(0))
    second = {"method": method, "options": options, "rtol": solver.rtol, "atol": solver.atol}
    states: Tensor = torchdiffeq.odeint_adjoint(
        guarded,
        y,
        times,
        **arguments(guarded, times),
        **{f"adjoint_{name}": value for name, value in second.items()},
        adjoint_params=params,
    )
    return states[-1]
