"""Flows with known volume or density laws, and the integration that carries both along.

| symbol | code | shape | equation |
|---|---|---|---|
| f | `velocity` | `(B, D)` | dx/dt = f(t, x) |
| div f | `divergence` | `(B,)` | sum_i df_i / dx_i |
| log abs(det dx(T)/dx(0)) | `expansion` | `(B,)` | int_0^T div f(t, x(t)) dt (Liouville; chen2018neural, theorem 1) |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from replications.flows.fields.mlp import MlpField
from replications.flows.ode.solve import Solver, solve

Velocity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class KnownFlow:
    """A velocity field and its divergence, both functions of (t, x)."""

    name: str
    velocity: Velocity
    divergence: Velocity


def linear(a: Tensor) -> KnownFlow:
    """Return f(x) = A x; div f = tr A."""
    return KnownFlow("linear", lambda t, x: x @ a.T, lambda t, x: torch.trace(a).expand(len(x)))


def pendulum(friction: float) -> KnownFlow:
    """Return (q, p)' = (p, -sin q - friction p); Hamiltonian without friction, div f = -friction."""

    def velocity(t: Tensor, x: Tensor) -> Tensor:
        q, p = x.unbind(-1)
        return torch.stack((p, -torch.sin(q) - friction * p), -1)

    name = "damped" if friction else "hamiltonian"
    return KnownFlow(name, velocity, lambda t, x: x.new_full((len(x),), -friction))


def hyperbolic() -> KnownFlow:
    """Return f(x) = tanh x in one dimension; its flow is sinh x(t) = e^t sinh x(0)."""
    return KnownFlow("tanh", lambda t, x: torch.tanh(x), lambda t, x: torch.cosh(x[:, 0]) ** -2)


def network(dim: int, generator: torch.Generator) -> KnownFlow:
    """Return a random MLP (two hidden layers of 16, tanh, time by `concat`); its divergence is exact, by autograd."""
    field = MlpField(dim, (16, 16), generator).double().requires_grad_(False)
    return KnownFlow("network", field, lambda t, x: exact_divergence(field, t, x))


def exact_divergence(velocity: Velocity, t: Tensor, x: Tensor) -> Tensor:
    """Return sum_i df_i/dx_i `(B,)` at points x `(B, D)`, one backward pass a dimension."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        f = velocity(t, x)
        rows = [torch.autograd.grad(f[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(x.shape[1])]
    return torch.stack(rows).sum(0)


def transport(flow: KnownFlow, x: Tensor, t0: float, t1: float, tolerance: float) -> tuple[Tensor, Tensor]:
    """Return x(t1) `(B, D)` and the log-expansion int_{t0}^{t1} div f dt `(B,)`, by dopri5 with rtol = atol."""

    def rate(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return flow.velocity(t, state[0]), flow.divergence(t, state[0])

    solver = Solver("dopri5", rtol=tolerance, atol=tolerance)
    end, expansion = solve(rate, (x, x.new_zeros(len(x))), t0, t1, solver)
    return end, expansion


def flow_jacobian(flow: KnownFlow, x: Tensor, horizon: float, tolerance: float) -> Tensor:
    """Return dx(T)/dx(0) `(B, D, D)` of the computed flow map, by autograd through the solver."""
    x = x.detach().requires_grad_()
    solver = Solver("dopri5", rtol=tolerance, atol=tolerance)
    end = solve(flow.velocity, x, 0.0, horizon, solver, "backprop")
    rows = [torch.autograd.grad(end[:, i].sum(), x, retain_graph=True)[0] for i in range(x.shape[1])]
    return torch.stack(rows, 1)


def disc_boundary(centre: Tensor, radius: float, points: int) -> Tensor:
    """Return equally spaced points `(points, 2)` of a circle."""
    angle = 2 * math.pi * torch.arange(points, dtype=centre.dtype) / points
    return centre + radius * torch.stack((angle.cos(), angle.sin()), -1)


def enclosed_area(curve: Tensor) -> Tensor:
    """Return the area inside a smooth closed curve, given by equally spaced parameter values `(points, 2)`.

    A = 1/2 int (q p' - p q') dtheta: derivatives by the Fourier series, integral by the trapezoidal rule, so that the
    error falls faster than any power of the number of points.
    """
    points = len(curve)
    wave = torch.fft.rfftfreq(points, 1 / points, dtype=curve.dtype)[:, None]
    slope = torch.fft.irfft(1j * wave * torch.fft.rfft(curve, dim=0), n=points, dim=0)
    return (curve[:, 0] * slope[:, 1] - curve[:, 1] * slope[:, 0]).sum() * math.pi / points
