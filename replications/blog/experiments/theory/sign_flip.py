"""The map x -> -x, which no one-dimensional neural ODE reaches, and the augmented one that does.

| symbol | code | shape | equation |
|---|---|---|---|
| phi | `endpoint` | `(B, 1)` | phi(x) = x(1) where x' = f(t, x), x(0) = x |
| loss | `loss` | scalar | mean over x of (phi(x) + x)^2 |
| bound | `bound` | scalar | mean over x of x^2 |

Solutions of one equation never meet, so phi increases strictly. Among increasing functions the best fit of the
decreasing -x is its mean, the constant 0 (isotonic regression), hence loss > bound whatever the network. With a
coordinate of zeros appended (dupont2019anode) paths can pass each other in the plane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from replications.flows.fields.mlp import MlpField
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver, solve
from replications.flows.training.loop import train
from replications.flows.training.settings import Training

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.blog.experiments.theory.declaration import Theory


def endpoint(
    field: nn.Module,
    x: Tensor,
    zeros: int,
    tolerance: float,
    counter: Counter | None = None,
    gradient: str = "checkpoint",
) -> Tensor:
    """Return the first coordinate `(B, 1)` of the flow at time 1 from x `(B, 1)` with `zeros` zeros appended."""
    solver = Solver("dopri5", rtol=tolerance, atol=tolerance)
    end = solve(field, functional.pad(x, (0, zeros)), 0.0, 1.0, solver, gradient, counter=counter)
    return end[:, :1]


def run_sign_flip(run: Run, config: Theory) -> None:
    """Train both on x -> -x over [-1, 1] and compare their losses with the bound."""
    x = torch.linspace(-1, 1, config.grid, dtype=torch.float64)[:, None]
    bound = float(x.square().mean())
    for label, zeros in (("1-D", 0), ("augmented", 1)):
        field, counter = _train(run, config, label, zeros, x, bound), Counter()
        with torch.no_grad():
            phi = endpoint(field, x, zeros, config.tolerances[-1], counter)
        protocol = f"mse/grid-{config.grid}/dopri5-{config.tolerances[-1]:g}"
        run.metric(f"ratio[{label}: loss/bound]", float((phi + x).square().mean()) / bound, protocol)
        rising = float((phi.diff(dim=0) > 0).double().mean())
        run.metric(f"ratio[{label}: neighbours in order]", rising, protocol)
        run.metric(f"nfe[{label}]", counter.forward_evaluations, protocol)
        run.curve(f"map[{label}]", x[:, 0], phi[:, 0], "x", "phi(x)")


def _train(run: Run, config: Theory, label: str, zeros: int, x: Tensor, bound: float) -> nn.Module:
    generator = run.torch_generator(f"field/{label}")
    field = MlpField(1 + zeros, (config.width, config.width), generator).double()

    def loss(iteration: int) -> Tensor:
        return (endpoint(field, x, zeros, config.train_tolerance) + x).square().mean()

    settings = Training(config.iterations, config.learning_rate, schedule="cosine")
    log = train(run, field, loss, settings, phase=label)
    relative = [value / bound for value in log.losses]
    run.curve(f"loss[{label}]", range(1, len(relative) + 1), relative, "iteration", "loss / bound")
    return field
