r"""What is measured of an OT-Flow beside what every flow is measured by: values, of flow, points and integration alone.

| quantity | code | shape | equation |
|---|---|---|---|
| L, C, R, straightness | `Evaluated.costs` | `(N,)` | see `replications.ot_flow.method` |
| NFE | `Evaluated.nfe` | | evaluations of the field in a solve, the mean over the points |
| there and back | `Generated.inversion` | `(N,)` | \|x_n - T^-1(T(x_n))\|, Euclidean |
| MMD^2 | `Generated.mmd`, `.biased` | | kernel exp(-\|x - y\|^2), unbiased and biased |
| rounding | `rounding_error` | `(N,)` | log p(x_n) in float32 less that in float64, by the same steps |
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import torch
from torch import Tensor

from bench.metrics.transport import mmd, mmd_biased
from replications.flows.density import evaluate
from replications.flows.density.evaluate import WARMING, Clock, Likelihood
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.ode.counter import counted
from replications.ot_flow.method import Costs, costs, rk4
from replications.tasks.density2d.evaluation import as_array

SIGMA = math.sqrt(0.5)
"""Of the kernel exp(-|x - y|^2 / (2 sigma^2)): the paper's exp(-|x - y|^2)."""


class Evaluated(NamedTuple):
    """The terms of the objective at test points, and what they took.

    Args:
        costs: `(N,)` each.
        nfe: evaluations of the field in a solve, the mean over the points.
        seconds: time of all of it.
        dim: D.
    """

    costs: Costs
    nfe: float
    seconds: float
    dim: int

    @property
    def likelihood(self) -> Likelihood:
        """C as what it is, the negative log-likelihood."""
        return Likelihood(-self.costs.C.double().cpu(), self.dim, self.nfe, self.seconds)


@torch.no_grad()
def costs_of(flow: Flow, x: Tensor, steps: int, batch: int = 1000) -> Costs:
    """Return the terms of all points `(N, D)` by so many steps of RK4, `batch` points at a time."""
    return _counted_costs(flow, x, steps, batch)[0]


def _counted_costs(flow: Flow, x: Tensor, steps: int, batch: int) -> tuple[Costs, float]:
    parts, nfe = counted(flow.counter, lambda part: costs(flow, part, rk4(steps)), x.split(batch))
    return Costs(*(torch.cat(terms) for terms in zip(*parts))), nfe


@torch.no_grad()
def evaluated(
    flow: Flow, x: Tensor, steps: int, batch: int = 1000, clock: Clock = time.perf_counter
) -> Evaluated:
    """Return the terms of all points `(N, D)` with what they took; arguments as `costs_of`, a clock that is read."""
    costs_of(flow, x[:WARMING], steps)  # so that nothing is used for the first time while the clock runs
    start = clock()
    found, nfe = _counted_costs(flow, x, steps, batch)
    return Evaluated(found, nfe, clock() - start, x.shape[1])


class Generated(NamedTuple):
    """What the inverse of a flow is worth: there and back, and what it makes of points of the base.

    Args:
        inversion: distance `(N,)` of each test point from where decoding its code leads.
        samples: n generated points `(n, D)`.
        mmd: squared MMD between them and the first n test points, unbiased.
        se: its standard error.
        biased: the same with the terms k(x_i, x_i) = 1 too, as the authors' code where a sample holds more than
            20,000 numbers: for rows far apart it is 1/n + 1/N, whatever is generated.
    """

    inversion: Tensor
    samples: Tensor
    mmd: float
    se: float
    biased: float


@torch.no_grad()
def generated(
    flow: Flow, x: Tensor, integration: Integration, n: int, generator: torch.Generator, batch: int = 1000
) -> Generated:
    """Return the error of the inverse at test points, and how far generated points are from the first n of them.

    Args:
        flow: in evaluation mode.
        x: test points `(N, D)`.
        integration: of all solves.
        n: generated points, at most N.
        generator: draws points of the base.
        batch: points solved together.
    """
    n = min(n, len(x))
    z = flow.prior.sample(n, generator, dtype=x.dtype, device=x.device)
    samples = torch.cat([flow.decode(part, integration) for part in z.split(batch)])
    pair = as_array(samples), as_array(x[:n])
    inversion = evaluate.inversion_error(flow, x, integration, batch)
    return Generated(inversion, samples, *mmd(*pair, sigma=SIGMA), mmd_biased(*pair, sigma=SIGMA))


@torch.no_grad()
def rounding_error(flow: Flow, x: Tensor, integration: Integration) -> Tensor:
    """Return what float32 changes of log p at points `(N, D)`, `(N,)` in float64: its value less that of float64."""
    single = flow.log_prob(x, integration=integration).double()
    with evaluate.in_float64(flow):
        return single - flow.log_prob(x.double(), integration=integration)
