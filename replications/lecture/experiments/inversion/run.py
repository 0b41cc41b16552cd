"""What a companion text says of flows: any network will do, the flow inverts, an adjoint in a few lines.

| symbol | code         | shape    | equation                                                               |
|--------|--------------|----------|------------------------------------------------------------------------|
| f      | `NotesField` | `(B, D)` | 128-128 hidden units on [h, t]; relu and dropout as printed, or tanh   |
| T(x)   | `there`      | `(B, D)` | h(1) from h(0) = x                                                     |
| a(t)   | `a`          | `(B, D)` | da/dt = -a df/dh, from a(1) = dL/dh(1) back to a(0) = dL/dh(0)         |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from replications.flows.fields.mlp import initialise
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver, solve

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.lecture.experiments.inversion.declaration import InversionConfig

FIELDS = {"smooth": (nn.Tanh, 0.0), "relu": (nn.ReLU, 0.0), "dropout": (nn.ReLU, 0.1)}


class Dropout(nn.Module):
    """Dropout that draws a new mask at every call from its own generator.

    Args:
        p: probability that a unit is set to zero; the others are scaled by 1 / (1 - p).
        generator: draws the masks.
    """

    def __init__(self, p: float, generator: torch.Generator) -> None:
        super().__init__()
        self.p, self.generator = p, generator

    def forward(self, x: Tensor) -> Tensor:
        """Return the masked units."""
        keep = torch.rand(x.shape, generator=self.generator, dtype=x.dtype) >= self.p
        return x * keep / (1 - self.p)


class NotesField(nn.Module):
    """The companion text's dynamics: two hidden layers on [h, t].

    Args:
        kind: `smooth`, `relu` or `dropout`.
        dim: D.
        width: hidden units a layer.
        generator: draws the parameters, then the masks.
    """

    def __init__(self, kind: str, dim: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        activation, p = FIELDS[kind]
        layers = [nn.Linear(dim + 1, width), activation(), nn.Linear(width, width), activation()]
        dropout = [Dropout(p, generator)] if p else []
        self.net = nn.Sequential(*layers, *dropout, nn.Linear(width, dim)).double()
        initialise(self, generator)

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """Return f(t, h) `(B, D)`."""
        output: Tensor = self.net(torch.cat((h, t.expand(len(h), 1)), dim=1))
        return output


def run(run: Run, config: InversionConfig) -> None:
    """Record how well a flow inverts, what a solve costs, and the error of the printed adjoint."""
    generator = run.torch_generator("states")
    x, cotangent = torch.randn(2, config.batch, config.dim, dtype=torch.float64, generator=generator)
    field = NotesField(config.field, config.dim, config.width, run.torch_generator("field"))
    counter = Counter()
    adaptive = Solver("dopri5", rtol=config.rtol, atol=config.atol, max_nfe=config.max_nfe)
    fixed = Solver("rk4", steps=config.steps)
    protocol = f"{adaptive.protocol}/batch-{config.batch}"
    run.metric("inversion_error[rk4]", there_and_back(field, x, fixed), f"{fixed.protocol}/max")
    with torch.no_grad():
        solve(field, x, 0.0, 1.0, adaptive, counter=counter)
    run.metric("nfe", counter.forward_evaluations, protocol)
    run.metric("inversion_error", there_and_back(field, x, adaptive), f"{protocol}/max")
    if config.field == "smooth":
        report_gradients(run, field, x, cotangent)


@torch.no_grad()
def there_and_back(field: nn.Module, x: Tensor, solver: Solver) -> float:
    """Return the largest component of |x - T^-1(T(x))|, T solved from 0 to 1 and T^-1 from 1 to 0."""
    there = solve(field, x, 0.0, 1.0, solver)
    return float((solve(field, there, 1.0, 0.0, solver) - x).abs().max())


def report_gradients(run: Run, field: nn.Module, x: Tensor, cotangent: Tensor) -> None:
    """Record the error of the hand-written adjoint, with the printed signs and with the right ones."""
    solver = Solver("dopri5", rtol=1e-9, atol=1e-9)
    start = x.clone().requires_grad_()
    end = solve(field, start, 0.0, 1.0, solver, "backprop")
    (exact,) = torch.autograd.grad(end, start, cotangent)
    for name, sign in (("printed", -1), ("right", 1)):
        gradient = input_gradient(field, end.detach(), cotangent, solver, sign)
        error = float((gradient - exact).norm() / exact.norm())
        run.metric(f"gradient_error[{name}]", error, "dL/dh(0) against autograd/dopri5-1e-9")


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
