r"""How well a flow inverts, what its solve takes, and the error of two hand-written adjoints.

| symbol | code | shape | equation |
|---|---|---|---|
| T(x) | `there` | `(B, D)` | h(1) from h(0) = x |
| error of the inverse | `largest_inversion_error` | scalar | largest component of abs(x - T^-1(T(x))) |
| a(t) | `a` | `(B, D)` | da/dt = -a df/dh, from a(1) = dL/dh(1) back to a(0) = dL/dh(0) |
| error of an adjoint | `gradient_error` | scalar | \|a(0) - g\| / \|g\|, g by autograd through the solver |
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver, solve
from replications.tasks.gradients import relative_error


@torch.no_grad()
def largest_inversion_error(field: nn.Module, x: Tensor, solver: Solver) -> float:
    """Return the largest component of |x - T^-1(T(x))|, T solved from 0 to 1 and T^-1 from 1 to 0."""
    there = solve(field, x, 0.0, 1.0, solver)
    return float((solve(field, there, 1.0, 0.0, solver) - x).abs().max())


@torch.no_grad()
def evaluations(field: nn.Module, x: Tensor, solver: Solver) -> int:
    """Return the evaluations of a solve of T."""
    counter = Counter()
    solve(field, x, 0.0, 1.0, solver, counter=counter)
    return counter.forward_evaluations


def gradient_error(field: nn.Module, x: Tensor, cotangent: Tensor, solver: Solver, sign: int) -> float:
    """Return the relative error of a hand-written adjoint, see `input_gradient`, against autograd.

    Args:
        field: f.
        x: h(0) `(B, D)`.
        cotangent: dL/dh(1) `(B, D)`.
        solver: of all solves.
        sign: of the adjoint's equation.
    """
    start = x.clone().requires_grad_()
    end = solve(field, start, 0.0, 1.0, solver, "backprop")
    (exact,) = torch.autograd.grad(end, start, cotangent)
    return relative_error(input_gradient(field, end.detach(), cotangent, solver, sign), exact)


def input_gradient(field: nn.Module, end: Tensor, cotangent: Tensor, solver: Solver, sign: int) -> Tensor:
    """Return dL/dh(0) `(B, D)` from h(1) and dL/dh(1): solve (h, a)' = sign (f, -a df/dh) from t = 1 to 0.

    The equation has sign +1: an integration from 1 to 0 runs backward by itself. The companion text negates
    the right-hand side too (sign -1), which turns time around twice: h moves forward again instead of back,
    and the wrong a with it.
    """

    def augmented(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            h = state[0].detach().requires_grad_()
            f = field(t, h)
            (pulled,) = torch.autograd.grad(f, h, state[1])
        return sign * f.detach(), -sign * pulled

    with torch.no_grad():
        _, a = solve(augmented, (end, cotangent), 1.0, 0.0, solver)
    return a
