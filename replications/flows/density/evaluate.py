r"""What a trained flow is worth on given points: values, computed from the flow, the points and the integration alone.

| quantity | code | shape | equation |
|---|---|---|---|
| log-likelihood | `Likelihood.log_prob` | `(N,)` | log p(x_n), nats |
| mean NLL, its standard error | `nll`, `se` | scalar | -1/N sum_n log p(x_n), s_n / sqrt(N) |
| error of the solver | `solver_error` | `(N,)` | log p(x_n) - log p*(x_n), p* in float64 at a far smaller tolerance |
| error of the inverse | `inversion_error` | `(N,)` | \|x_n - T^-1(T(x_n))\|, Euclidean |
| kinetic energy | `Regularity.kinetic` | `(N,)` | integral of \|f\|^2 dt, summed over dimensions |
| Jacobian | `Regularity.jacobian` | `(N,)` | integral of \|df/dx\|_F^2 dt |
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.errors import SolveFailure
from replications.flows.ode.counter import counted
from replications.flows.ode.solver import Solver

Clock = Callable[[], float]
"""Returns the time in seconds; for a GPU one that waits for the device first."""

WARMING = 2
"""Points that are solved before others are timed."""

REFERENCE_TOLERANCE = 1e-8
"""rtol = atol of the solve that stands for the exact one, in float64."""


@dataclass(frozen=True)
class Likelihood:
    """The log-likelihood of points, and what it took.

    Args:
        log_prob: log p `(N,)` in nats, float64, on the CPU.
        dim: D, numbers in a point.
        nfe: evaluations of the field in a solve, the mean over the points; those of a batch share a solve.
        seconds: time of all of it.
    """

    log_prob: Tensor
    dim: int
    nfe: float
    seconds: float

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.log_prob)

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood, nats."""
        return -self.log_prob.mean().item()

    @property
    def se(self) -> float:
        """Standard error of the mean over the points, nats."""
        return self.log_prob.std().item() / math.sqrt(self.n)

    @property
    def nats_per_bit_per_dim(self) -> float:
        """D log 2: the nats that one bit in each dimension is."""
        return self.dim * math.log(2)


@torch.no_grad()
def likelihood(
    flow: Flow,
    x: Tensor,
    integration: Integration,
    batch: int = 1000,
    generator: torch.Generator | None = None,
    clock: Clock | None = None,
) -> Likelihood:
    """Return the log-likelihood of points.

    Args:
        flow: in evaluation mode.
        x: points `(N, *S)`.
        integration: with the `exact` divergence for an exact likelihood.
        batch: points solved together; they share their steps.
        generator: of the probes of an estimate.
        clock: reads the time, which counts once a few points have been solved; without it, what the process takes.
    """
    if clock is not None:
        warm_up(flow, x[:WARMING], integration)
    clock = clock or time.perf_counter
    start = clock()
    found, nfe = counted(
        flow.counter,
        lambda part: flow.log_prob(part, generator=generator, integration=integration),
        x.split(batch),
    )
    log_p = torch.cat(found)
    seconds = clock() - start
    return Likelihood(log_p.double().cpu(), math.prod(x.shape[1:]), nfe, seconds)


def warm_up(flow: Flow, x: Tensor, integration: Integration) -> None:
    """Solve some points `(n, *S)` with probes of their own, so that what is used for the first time is not timed."""
    own = torch.Generator().manual_seed(0)
    with contextlib.suppress(
        SolveFailure
    ):  # the points that are timed may be solved all the same, or fail as well
        flow.log_prob(x, generator=own, integration=integration)


@torch.no_grad()
def solver_error(
    flow: Flow,
    x: Tensor,
    integration: Integration,
    eps: Tensor | None = None,
    tolerance: float = REFERENCE_TOLERANCE,
) -> Tensor:
    """Return what solver and rounding get wrong of log p, `(N,)`: its value less that of float64 at a small tolerance.

    Args:
        flow: in evaluation mode.
        x: points `(N, *S)`.
        integration: whose error is wanted.
        eps: probes of an estimated divergence, the same for both.
        tolerance: rtol = atol of the reference.
    """
    loose = flow.log_prob(x, eps, integration=integration).double()
    with in_float64(flow):
        twin = None if eps is None else eps.double()
        return loose - flow.log_prob(x.double(), twin, integration=at_tolerance(integration, tolerance))


@torch.no_grad()
def inversion_error(flow: Flow, x: Tensor, integration: Integration, batch: int = 1000) -> Tensor:
    """Return the Euclidean distance of points `(N, *S)` from where decoding their code leads, `(N,)`, float64."""
    back = torch.cat([flow.decode(flow.encode(part, integration), integration) for part in x.split(batch)])
    return (back - x).flatten(1).double().norm(dim=1)


class Regularity(NamedTuple):
    """Integrals along the paths of points, `(N,)` each: of |f|^2 and of |df/dx|_F^2, summed over dimensions."""

    kinetic: Tensor
    jacobian: Tensor


@torch.no_grad()
def regularity(
    flow: Flow, x: Tensor, integration: Integration, generator: torch.Generator | None = None
) -> Regularity:
    """Return the kinetic energy and the Jacobian norm along the paths of points `(N, *S)`."""
    names = ("kinetic_sum", "jacobian_sum")
    path = flow.path(x, generator=generator, integration=dataclasses.replace(integration, regularizers=names))
    return Regularity(*(path.integrals[name] for name in names))


def learned_end_time(flow: Flow) -> float | None:
    """Return the learned end time T, the mean over blocks; None where it is given."""
    ends = [value for name, value in flow.state_dict().items() if name.endswith("root_T")]
    return torch.stack(ends).square().mean().item() if ends else None


def for_evaluation(integration: Integration) -> Integration:
    """Return the same integration without what belongs to training alone: regularizers, random end, compilation."""
    return dataclasses.replace(integration, regularizers=(), b=0.0, compiled=False)


def at_tolerance(integration: Integration, tolerance: float) -> Integration:
    """Return the same integration at rtol = atol = tolerance; by dopri5 in place of a method with fixed steps."""
    adaptive = integration.solver if not integration.solver.fixed else Solver("dopri5")
    solver = dataclasses.replace(adaptive, rtol=tolerance, atol=tolerance)
    return dataclasses.replace(integration, solver=solver)


@contextmanager
def in_float64(flow: Flow) -> Iterator[None]:
    """Hold a flow's parameters in float64 for a while."""
    kept = next(flow.parameters()).dtype
    flow.double()
    try:
        yield
    finally:
        flow.to(kept)
