"""Experiment `ffjord.density_integral`: does a learned density integrate to one? (grathwohl2019ffjord, Figure 8).

| symbol | code | shape | equation |
|---|---|---|---|
| p | `flow.log_prob(x).exp()` | `(N,)` | log p(x) = log p_0(z(x)) + delta(x) |
| z | `flow.encode` | `(N, 1)` | increasing in x, as flows on the line are |
| mass | `trapezoid` | scalar | integral of p over [-r, r] |
| mass of the map | `map_mass` | scalar | P(z(r)) - P(z(-r)), P the normal distribution function |

The mass of the computed map's own density is exact and lies in [0, 1]: what the solver gets wrong of delta, and nothing
else, takes the integral away from it. Three more errors are measured apart in float64: of the trapezoidal rule, by its
even points against its odd ones; of the ends of the interval, by the mass of the map outside (both at the smallest
tolerance); and of points that share their steps, by solving only a few neighbours together.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.measure.clock import reader
from bench.stats import fit_exponent
from replications.ffjord.method import BUILDER
from replications.flows.density import evaluate as measured
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.errors import SolveFailure
from replications.flows.means import averaged_over, sizes_of
from replications.flows.ode.counter import counted
from replications.flows.ode.solve import Solver
from replications.flows.training.settings import Training
from replications.steer.method import METHOD
from replications.tasks.method import build, in_test
from replications.tasks.recording import (
    record_end_time,
    record_inversion,
    record_likelihood,
    record_solver_error,
)
from replications.tasks.splits import Fresh, TestSet, first, held_out
from replications.tasks.training import fit_by, validation

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.ffjord.experiments.density_integral.declaration import DensityConfig

VARIANCE = 0.4
"""Of each part of the mixture."""
CHECKED = 1000
"""Test points on which solver error and inversion are measured."""
VALIDATED = 1000
"""Fresh points of a validation."""
SHOWN = 50
"""Every so many points of the grid are kept for the figure."""


def run(run: Run, config: DensityConfig) -> None:
    """Train by maximum likelihood, then integrate the density at every tolerance."""
    arguments = {"dim": 1, "hidden": list(config.hidden), "T": config.T, "learn_T": config.learn_T}
    flow = build(BUILDER, arguments, run.torch_generator("field")).to(run.device)
    settings = Training(
        config.iterations,
        config.learning_rate,
        weight_decay=config.weight_decay,
        validate_every=config.validate_every,
        keep="best",
    )
    data = Fresh(run, partial(draw, config.means), run.device)
    validate = validation(run, flow, METHOD, config, data.validation(VALIDATED))
    fit_by(run, flow, METHOD, config, lambda i: data.batch(i, config.batch).points, settings, validate)
    run.save_model(BUILDER, arguments, flow.state_dict())
    evaluate(run, flow, data.test(config.test_points), in_test(config))
    masses(run, flow, config)


def evaluate(run: Run, flow: Flow, test: TestSet, integration: Integration) -> None:
    """Record likelihood, its error and inversion on test points."""
    record_end_time(run, flow)
    found = measured.likelihood(flow, held_out(test), integration, clock=reader(run.device))
    record_likelihood(run, found, integration)
    few = held_out(first(test, CHECKED))
    record_solver_error(run, measured.solver_error(flow, few, integration), integration)
    record_inversion(run, measured.inversion_error(flow, few, integration), integration.solver.protocol)


def draw(means: tuple[float, ...], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return n points `(n, 1)` of the equal mixture of N(m, 0.4) over the means m."""
    return rng.choice(means, (n, 1)) + rng.normal(0, VARIANCE**0.5, (n, 1))


def log_density(means: tuple[float, ...], x: Tensor) -> Tensor:
    """Return the mixture's log-density in nats, `(N,)`, at points `(N, 1)`."""
    parts = torch.distributions.Normal(torch.tensor(means, dtype=x.dtype, device=x.device), VARIANCE**0.5)
    return torch.logsumexp(parts.log_prob(x), 1) - float(np.log(len(means)))


def trapezoid(values: Tensor, x: Tensor) -> float:
    """Return the integral of `(N,)` values over increasing points `(N, 1)` by the trapezoidal rule."""
    return torch.trapezoid(values, x[:, 0]).item()


@torch.no_grad()
def map_mass(flow: Flow, x: Tensor, integration: Integration) -> float:
    """Return P(z(b)) - P(z(a)), a and b the first and last of the points `(N, 1)`: the mass of the map between them."""
    low, high = torch.special.ndtr(flow.encode(x, integration)[[0, -1], 0]).tolist()
    return float(high - low)


@torch.no_grad()
def integrate(flow: Flow, x: Tensor, integration: Integration, batch: int) -> tuple[Tensor, float]:
    """Return log p `(N,)` at the points and the NFE of a solve of `batch` neighbours, the mean over the points."""
    parts, nfe = counted(
        flow.counter, lambda part: flow.log_prob(part, integration=integration), x.split(batch)
    )
    return torch.cat(parts).double(), nfe


def masses(run: Run, flow: Flow, config: DensityConfig) -> None:
    """Record mass errors and NFE in float64 and float32, errors that are not the solver's, and the KL divergence."""
    r, n = config.reach, config.points
    x = torch.linspace(-r, r, n, dtype=torch.float64, device=run.device)[:, None]
    rule = f"trapezoid, {n} points of [-{r:g}, {r:g}]"
    with measured.in_float64(flow):
        ladder(run, flow, x, config, rule)
        tight = measured.at_tolerance(in_test(config), config.tolerances[-1])
        log_p, _ = integrate(flow, x, tight, len(x))
        other_errors(run, flow, x, config, log_p, rule)
    ladder(run, flow, x.float(), config, rule)
    target = log_density(config.means, x)
    kl = trapezoid(target.exp() * (target - log_p), x)
    run.metric("kl", kl, f"E_data[log data - log p]/{tight.protocol}/float64/{rule}")
    for name, values in (("learned", log_p), ("data", target)):
        run.curve(f"density[{name}]", x[::SHOWN, 0].tolist(), values[::SHOWN].exp().tolist(), "x", "p(x)")


def ladder(run: Run, flow: Flow, x: Tensor, config: DensityConfig, rule: str) -> None:
    """Record abs(mass - 1) and NFE at every tolerance, in the points' type, which the flow must have.

    In float32 a tolerance that its rounding errors put out of reach is left out.
    """
    double = x.dtype == torch.float64
    dtype = "float64" if double else "float32"
    kept: list[float] = []
    errors: list[float] = []
    evaluations: list[float] = []
    for tolerance in config.tolerances:
        solver = Solver(rtol=tolerance, atol=tolerance, max_nfe=None if double else config.max_nfe)
        try:
            log_p, nfe = integrate(flow, x, Integration(solver), len(x))
        except SolveFailure:
            if double:
                raise
            continue
        key = f"{tolerance:g}" if double else f"{tolerance:g}, float32"
        error = abs(trapezoid(log_p.exp(), x.double()) - 1)
        run.metric(f"mass_error[{key}]", error, f"exact-trace/dopri5/{dtype}/{rule}, solved together")
        run.metric(f"nfe[{key}]", nfe, f"exact-trace/dopri5/{dtype}/{rule}, solved together")
        for series, value in ((kept, tolerance), (errors, error), (evaluations, nfe)):
            series.append(value)
    run.curve(f"mass_error/tolerance[{dtype}]", kept, errors, "rtol = atol", "|integral - 1|")
    run.curve(f"nfe/tolerance[{dtype}]", kept, evaluations, "rtol = atol", "NFE")
    if double:
        protocol = f"exact-trace/dopri5/{dtype}/tolerance {kept[0]:g} to {kept[-1]:g}/{rule}"
        for name, values in (("mass_error", errors), ("nfe", evaluations)):
            fit = fit_exponent(kept, values)
            run.metric(f"scaling_exponent[{name}/tolerance]", fit.slope, protocol, fit.n, fit.slope_se)


def other_errors(run: Run, flow: Flow, x: Tensor, config: DensityConfig, log_p: Tensor, rule: str) -> None:
    """Record the errors of the rule and of the interval's ends, and the mass error of points that share fewer steps.

    Args:
        run: where to.
        flow: in float64.
        x: the points `(N, 1)`.
        config: tolerances and batch.
        log_p: log-densities there at the smallest tolerance, `(N,)`.
        rule: its name in a protocol.
    """
    integration = in_test(config)
    tight = measured.at_tolerance(integration, config.tolerances[-1])
    even, odd = (trapezoid(log_p[k::2].exp(), x[k::2]) for k in (0, 1))
    protocol = f"{tight.protocol}/float64/{rule}"
    run.metric("mass_error[rule]", abs(even - odd), f"{protocol}/even points against odd points")
    run.metric("mass_error[ends]", 1 - map_mass(flow, x, tight), f"{protocol}/mass of the map outside")
    together = config.small_batch
    key, protocol = (
        f"{config.rtol:g}, {together} at a time",
        f"{integration.protocol}/float64/{rule}, solved {together} at a time",
    )
    over = ", mean over points" if averaged_over(sizes_of(len(x), together)) == "points" else ""
    log_p, nfe = integrate(flow, x, integration, together)
    run.metric(f"mass_error[{key}]", abs(trapezoid(log_p.exp(), x) - 1), protocol)
    run.metric(f"nfe[{key}]", nfe, protocol + over)
