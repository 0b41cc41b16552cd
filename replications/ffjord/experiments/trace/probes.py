r"""A trained flow with fixed and with fresh probes; how much of its gradient's variance the probes make.

| symbol | code | shape | equation |
|---|---|---|---|
| eps | `eps` | `(1, B, D)` | d delta/dt = eps^T J eps, drawn once for a solve or at each evaluation |
| tol | `tolerance` | | rtol = atol of dopri5 |
| g(x, eps) | `gradient` | `(P,)` | gradient of the NLL of a minibatch x by all parameters |
| noise | `noise` | | mean \|g(x, eps) - g(x)\|^2 over the variance of g(x), g(x) by the exact trace |

FFJORD draws eps once for a solve, the code of two tutorials at each evaluation. Fresh probes make the right-hand side a
random function of time: the error estimate of a step of length h is then of the order h, not h^5, so that h ~ tol and
NFE ~ 1/tol, where a fixed probe needs NFE ~ tol^(-1/5).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.stats import fit_exponent
from replications.ffjord.method import build
from replications.flows.density.cnf import CNF
from replications.flows.density.divergence import EXACT, Divergence
from replications.flows.density.integration import Integration
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import NFEBudget, Solver, Underflow, solve
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.tasks.density2d.evaluation import fresh
from replications.tasks.splits import held_out

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.ffjord.experiments.trace.declaration import TraceConfig

KINDS = ("rademacher", "gaussian")
FITTED = 3


def run(run: Run, config: TraceConfig) -> None:
    """Train a flow with fixed probes; then solve with fixed and fresh ones and split the gradient's variance."""
    flow = trained(run, config)
    x = points(run, config, "solve")
    for kind in KINDS:
        evaluations(run, flow, x, kind, config)
    gradients(run, flow, config)


def points(run: Run, config: TraceConfig, stream: str) -> Tensor:
    """Return a minibatch `(B, 2)` of fresh data, from a stream of its own."""
    return held_out(fresh(run, config.data).test(config.flow_batch, stream))


def integration_by(divergence: Divergence, config: TraceConfig) -> Integration:
    """Return the integration by a divergence at the training's tolerance."""
    tolerance = config.tolerances[-1]
    return Integration(Solver(rtol=tolerance, atol=tolerance), divergence)


def trained(run: Run, config: TraceConfig) -> CNF:
    """Return a flow trained with one fixed Rademacher probe a solve, as FFJORD trains."""
    flow = build(2, config.hidden, learn_T=False, generator=run.torch_generator("field")).to(run.device)
    assert isinstance(flow, CNF)  # one block
    integration = integration_by(Divergence("rademacher"), config)
    data = fresh(run, config.data)

    def loss(i: int) -> Tensor:
        generator = run.torch_generator(f"probes/{i}")
        x = data.batch(i, config.flow_batch).points
        return -flow.log_prob(x, generator=generator, integration=integration).mean()

    train(run, flow, loss, Training(config.iterations, config.learning_rate), counter=flow.counter)
    return flow


# -- fixed and fresh probes -------------------------------------------------------------------------------------


class Estimated(nn.Module):
    """Slopes of x and delta by a one-probe estimate.

    Args:
        field: f.
        divergence: kind of the probes.
        generator: draws them.
        fresh: draw at every evaluation, in place of once.
    """

    def __init__(
        self, field: nn.Module, divergence: Divergence, generator: torch.Generator, fresh: bool
    ) -> None:
        super().__init__()
        self.field, self.divergence, self.generator, self.fresh = field, divergence, generator, fresh
        self.eps: Tensor | None = None

    def forward(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return f `(B, D)` and eps^T J eps `(B,)`."""
        if self.fresh or self.eps is None:
            self.eps = self.divergence.draw(state[0], self.generator)
        at = self.divergence(self.field, t, state[0], self.eps)
        return at.f, at.divergence


@torch.no_grad()
def count(
    flow: CNF, x: Tensor, kind: str, tolerance: float, fresh: bool, generator: torch.Generator, budget: int
) -> tuple[int, float]:
    """Return the NFE of a solve over [0, T] and the share of it that was done, below 1 where it failed."""
    field, counter = Estimated(flow.field, Divergence(kind), generator, fresh), Counter()
    solver = Solver(rtol=tolerance, atol=tolerance, max_nfe=budget)
    try:
        solve(field, (x, x.new_zeros(len(x))), 0.0, flow.T, solver, counter=counter)
    except (NFEBudget, Underflow) as end:
        return counter.forward_evaluations, (end.last_t or 0.0) / flow.T
    return counter.forward_evaluations, 1.0


def evaluations(run: Run, flow: CNF, x: Tensor, kind: str, config: TraceConfig) -> None:
    """Record NFE with fixed and with fresh probes at every tolerance."""
    protocol = f"dopri5/float32/batch {len(x)}/at most {config.max_nfe} evaluations"
    last = f"{protocol}/tolerance {config.tolerances[-1]:g}"
    spent = {}
    for redrawn, name in ((False, "fixed"), (True, "fresh")):
        generator = run.torch_generator(f"{name}/{kind}")
        counts, shares = zip(
            *(count(flow, x, kind, tol, redrawn, generator, config.max_nfe) for tol in config.tolerances)
        )
        spent[name] = counts[-1]
        run.curve(f"nfe/tolerance[{kind}, {name}]", config.tolerances, counts, "rtol = atol", "NFE")
        run.metric(f"nfe[{kind}, {name}]", counts[-1], last)
        run.metric(f"ratio[share of the interval: {kind}, {name}]", shares[-1], last)
        ended = [pair for *pair, share in zip(config.tolerances, counts, shares) if share == 1][-FITTED:]
        if len(ended) > 1:
            fit = fit_exponent(*zip(*ended))
            fitted = f"{protocol}/the {FITTED} smallest tolerances that end"
            run.metric(
                f"scaling_exponent[nfe/tolerance: {kind}, {name}]", fit.slope, fitted, fit.n, fit.slope_se
            )
    run.metric(f"ratio[nfe: {kind}, fresh/fixed]", spent["fresh"] / spent["fixed"], last)


# -- variance of the gradient -----------------------------------------------------------------------------------


def gradient(
    flow: CNF, x: Tensor, integration: Integration, generator: torch.Generator | None = None
) -> Tensor:
    """Return the gradient of the NLL of x by all parameters, `(P,)`, in float64."""
    nll = -flow.log_prob(x, generator=generator, integration=integration).mean()
    return torch.cat([part.flatten() for part in torch.autograd.grad(nll, list(flow.parameters()))]).double()


def gradients(run: Run, flow: CNF, config: TraceConfig) -> None:
    """Record the variance that probes add to a minibatch's gradient, in units of the variance of minibatches."""
    batches = [points(run, config, f"gradient/{i}") for i in range(config.gradients)]
    exact = torch.stack([gradient(flow, x, integration_by(EXACT, config)) for x in batches])
    spread = exact.var(0).sum().item()
    for kind in KINDS:
        for k in (1, 2):
            integration = integration_by(dataclasses.replace(EXACT, kind=kind, probes=k), config)
            noisy = [
                gradient(flow, x, integration, run.torch_generator(f"gradient/{kind}/{i}"))
                for i, x in enumerate(batches)
            ]
            noise = (torch.stack(noisy) - exact).square().sum(1).mean().item()
            protocol = f"trained flow/{len(batches)} minibatches of {config.flow_batch}/{integration.solver.protocol}"
            run.metric(
                f"ratio[gradient variance: {integration.divergence.protocol}/minibatch]",
                noise / spread,
                protocol,
            )
