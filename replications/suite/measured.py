r"""What is measured of a trained method: values, computed from the model and points alone.

| quantity | code | equation |
|---|---|---|
| NLL | `Scores.log_p` | -1/N sum_n log p(x_n), nats |
| KL | `Scores.excess` | 1/N sum_n log q(x_n) - log p(x_n), q the truth |
| W2, debiased; noise floor | `Compared` | of sets of samples from sets of data, of data from data |
| error by the trace | `trace_error` | (1/K sum_k (NLL_k - NLL)^2)^(1/2), NLL_k by one Rademacher probe a solve |
| error of the field | `field_error` | E \|v - v*\|^2 / E \|v*\|^2 along the path, v* the marginal field of a mixture |
| detour | `detour` | E T integral \|v\|^2 dt / E \|x(T) - x(0)\|^2 |
| work and precision | `work` | error of the NLL and debiased W2 against the evaluations of a solve |
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from bench.metrics.classification import c2st
from bench.metrics.transport import debiased_wasserstein2, mmd, wasserstein2
from replications.flow_matching.coupling import independent
from replications.flow_matching.method import draw
from replications.flow_matching.model import velocity_of
from replications.flows.density import evaluate
from replications.flows.density.divergence import Divergence
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.ode.solver import Solver
from replications.suite.data import Array
from replications.suite.methods import ByMatching
from replications.tasks.mixtures.law import Mixture
from replications.tasks.mixtures.marginal import velocity

LADDER = {
    "euler": (1, 2, 4, 8, 16, 32, 64),
    "midpoint": (1, 2, 4, 8, 16, 32),
    "rk4": (1, 2, 4, 8, 16),
}
"""Steps of the fixed methods on whose errors a work-precision figure rests."""
TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""rtol = atol of dopri5 there."""


class Density(Protocol):
    """What is tested: a trained method, a yardstick, the truth."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) `(N,)` in nats."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n samples `(n, D)`."""


class Scores(NamedTuple):
    """log p `(N,)` of test points in nats, and log q - log p `(N,)` where the truth q is known."""

    log_p: Tensor
    excess: Tensor | None


@torch.no_grad()
def scores(
    model: Density, x: Tensor, log_density: Callable[[Array], Array] | None, batch: int = 1000
) -> Scores:
    """Return the log-density of test points `(N, D)`, float64, a batch at a time."""
    log_p = torch.cat([model.log_prob(part).double().cpu() for part in x.split(batch)])
    if log_density is None:
        return Scores(log_p, None)
    return Scores(log_p, torch.as_tensor(log_density(x.double().cpu().numpy())) - log_p)


class Compared(NamedTuple):
    """Samples against data: debiased W2^2 and its standard error, W2 of data against data, MMD^2, C2ST in %."""

    w2: float
    w2_se: float | None
    floor: float
    mmd: float
    mmd_se: float
    c2st: float
    c2st_se: float


def compared(samples: Tensor, data: Tensor, rng: np.random.Generator, paired: int) -> Compared:
    """Return how far sets of samples are from sets of data.

    Args:
        samples: `(B, N, D)`.
        data: likewise.
        rng: of the classifier.
        paired: points of each, from the first sets on, that MMD and the classifier compare.
    """
    x, y = (part.double().cpu().numpy() for part in (samples, data))
    floor = float(np.mean([wasserstein2(a, b) for a, b in zip(y[::2], y[1::2], strict=True)]))
    first, second = (part.reshape(-1, part.shape[-1])[:paired] for part in (x, y))
    return Compared(*debiased_wasserstein2(x, y), floor, *mmd(first, second), *c2st(first, second, rng))


@torch.no_grad()
def trace_error(
    flow: Flow, x: Tensor, integration: Integration, generator: torch.Generator, draws: int = 4
) -> float:
    """Return the root mean square error of the mean NLL of points `(N, D)` where one probe estimates the trace."""
    exact = flow.log_prob(x, integration=integration).mean()
    estimated = dataclasses.replace(integration, divergence=Divergence("rademacher"))
    errors = [
        (flow.log_prob(x, generator=generator, integration=estimated).mean() - exact).item()
        for _ in range(draws)
    ]
    return math.sqrt(sum(error**2 for error in errors) / draws)


@torch.no_grad()
def detour(flow: Flow, x: Tensor, integration: Integration, T: float) -> float:
    """Return the transport cost of the paths of points `(N, D)` over the squared distance of their ends, at least 1."""
    kinetic = evaluate.regularity(flow, x, integration).kinetic.double().mean().item()
    moved = (flow.encode(x, integration) - x).double().square().sum(1).mean().item()
    return T * kinetic / moved


@torch.no_grad()
def field_error(model: ByMatching, law: Mixture, x1: Tensor, generator: torch.Generator) -> float | None:
    """Return E |v - v*|^2 / E |v*|^2 of a velocity along its path from noise to points `(N, D)` of a mixture.

    v* is the marginal field of the path between independent noise and data. None where the coupling is another one, or
    the field was trained by something else in the end.
    """
    method = model.method
    if method.coupling is not independent or type(model) is not ByMatching:
        return None
    drawn = draw(method, x1, generator)
    x_t, _ = method.path(drawn.x0, x1, drawn.t, drawn.noise)
    known = velocity(law, method.path.coefficients, drawn.t, x_t.double(), method.path.source_std)
    learned = velocity_of(model.flow)(drawn.t, x_t).double()
    return ((learned - known).square().sum() / known.square().sum()).item()


class Point(NamedTuple):
    """What a solve of one way to integrate costs and gets wrong."""

    nfe: float
    nll_error: float
    w2: float


@torch.no_grad()
def work(
    flow: Flow, x: Tensor, base: Tensor, data: Tensor, integrations: Sequence[Integration], exact: float
) -> list[Point]:
    """Return the error of the NLL and the debiased W2^2 of samples for each way to integrate.

    Args:
        flow: trained, frozen.
        x: test points `(N, D)`.
        base: sets of points of the base density `(B, N, D)`.
        data: as many sets of data.
        integrations: whose errors are wanted.
        exact: NLL of the points, nats.
    """
    found = []
    for integration in integrations:
        flow.counter.reset()
        nll = -flow.log_prob(x, integration=integration).double().mean().item()
        nfe = flow.counter.forward_evaluations
        samples = torch.stack([flow.decode(z, integration) for z in base])
        pair = samples.double().cpu().numpy(), data.double().cpu().numpy()
        finite = np.isfinite(pair[0]).all() and math.isfinite(nll)
        error = abs(nll - exact) if finite else math.inf
        found.append(Point(nfe, error, debiased_wasserstein2(*pair)[0] if finite else math.inf))
    return found


def ladder(integration: Integration) -> dict[str, list[Integration]]:
    """Return the ways to integrate of a work-precision figure, by method, coarse to fine."""
    fixed = {
        method: [dataclasses.replace(integration, solver=Solver(method, steps=n)) for n in steps]
        for method, steps in LADDER.items()
    }
    return fixed | {"dopri5": [evaluate.at_tolerance(integration, tolerance) for tolerance in TOLERANCES]}
