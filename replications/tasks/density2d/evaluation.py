r"""Train a flow on a density in the plane, and measure what it is worth.

| quantity | code | equation |
|---|---|---|
| mass error | `mass_error` | \|h^2 sum_ij p(x_ij) - 1\|, x_ij a grid over [-r, r]^2 of spacing h |
| distances | `Distances` | of n samples from n test points |

The sum over the grid is the trapezoidal rule but for the edge, where the density is nearly zero.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data import toy2d
from bench.measure.clock import reader, time_repeats
from bench.metrics.classification import c2st
from bench.metrics.transport import mmd, wasserstein2
from replications.flows.density import evaluate as measured
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.training.settings import Training
from replications.tasks.method import Method, build
from replications.tasks.recording import record_checks, record_end_time, record_likelihood
from replications.tasks.splits import Fresh, TestSet, first, held_out
from replications.tasks.training import fit_by, validation

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.tasks.density2d.declaration import Density2dConfig, Density2dTest

Array = NDArray[np.float64]

VALIDATED = 1000
"""Fresh points of a validation, the same each time."""
SHOWN = 40
"""Points a side of the density's picture."""
SAMPLES = 300
"""Samples kept for the picture."""


def fresh(run: Run, name: str, dtype: torch.dtype = torch.float32) -> Fresh:
    """Return fresh points `(n, 2)` of a set of `bench.data.toy2d`, on the run's device."""
    return Fresh(run, partial(toy2d.draw, name), run.device, dtype)


def trained(
    run: Run, config: Density2dConfig, method: Method, builder: str, arguments: dict[str, Any]
) -> Flow:
    """Return the flow that a builder makes, trained by a method; its cost is recorded and the model kept."""
    flow = build(builder, arguments, run.torch_generator("field")).to(run.device)
    data = fresh(run, config.data)
    settings = Training(
        config.iterations,
        config.learning_rate,
        weight_decay=config.weight_decay,
        validate_every=config.validate_every,
        keep="best" if config.validate_every else "last",
    )
    validate = None
    if config.validate_every:
        validate = validation(run, flow, method, config, data.validation(VALIDATED))
    fit_by(run, flow, method, config, lambda i: data.batch(i, config.batch).points, settings, validate)
    run.save_model(builder, arguments, flow.state_dict())
    return flow


def evaluate(
    run: Run, flow: Flow, config: Density2dTest, integration: Integration, in_training: Integration
) -> None:
    """Record likelihood, its error, regularity, total mass and samples of a trained flow.

    Args:
        run: where to.
        flow: of points in the plane.
        config: data and sizes of the evaluation.
        integration: of all tests.
        in_training: how it was integrated in training; where that was by fixed steps, the likelihood by them stands
            beside the accurate one.
    """
    clock = reader(run.device)
    test = fresh(run, config.data).test(config.test_points)
    record_end_time(run, flow)
    record_likelihood(run, measured.likelihood(flow, held_out(test), integration, clock=clock), integration)
    if in_training.solver.fixed:
        own = measured.for_evaluation(in_training)
        by_own = measured.likelihood(flow, held_out(test), own, clock=clock)
        record_likelihood(run, by_own, own, qualifier="training solver")
    few = first(test, config.compared)
    record_checks(run, flow, held_out(few), integration)
    record_mass(run, flow, integration, config)
    record_samples(run, flow, few, integration)


@torch.no_grad()
def density_on_grid(flow: Flow, integration: Integration, side: int, reach: float) -> Tensor:
    """Return p `(side, side)` in float64 at the points of a grid over [-reach, reach]^2, solved together."""
    device = next(flow.parameters()).device
    axis = torch.linspace(-reach, reach, side, dtype=torch.float64, device=device)
    with measured.in_float64(flow):
        log_p = flow.log_prob(torch.cartesian_prod(axis, axis), integration=integration)
    return log_p.exp().reshape(side, side)


def mass_error(density: Tensor, reach: float) -> float:
    """Return |h^2 sum_ij p_ij - 1| of a density `(side, side)` on a grid over [-reach, reach]^2."""
    h = 2 * reach / (len(density) - 1)
    return abs(density.sum().item() * h**2 - 1)


class Grid(Protocol):
    """Where a density is integrated: `side` points a side of [-reach, reach]^2, at some tolerances."""

    @property
    def grid(self) -> int:
        """Points a side."""

    @property
    def reach(self) -> float:
        """Half the side."""

    @property
    def mass_tolerances(self) -> tuple[float, ...]:
        """rtol = atol of the solves."""


def record_mass(run: Run, flow: Flow, integration: Integration, config: Grid) -> None:
    """Record the error of the total mass at every tolerance, and a coarse picture of the density."""
    side, reach = config.grid, config.reach
    for tolerance in config.mass_tolerances:
        tight = measured.at_tolerance(integration, tolerance)
        density = density_on_grid(flow, tight, side, reach)
        protocol = (
            f"{tight.protocol} in float64/{side}^2 points of [-{reach:g}, {reach:g}]^2, solved together"
        )
        run.metric(f"mass_error[{tolerance:g}]", mass_error(density, reach), protocol)
    every = max(1, side // SHOWN)
    run.artifact("density", density[::every, ::every].float())


class Distances(NamedTuple):
    """Distances between n samples and n points of the data: W2, squared MMD and C2ST with their standard errors."""

    wasserstein2: float
    mmd: float
    mmd_se: float
    c2st: float
    c2st_se: float


def distances(ours: Tensor, theirs: Tensor, rng: np.random.Generator) -> Distances:
    """Return how far samples are from as many points of the data, `(n, 2)` each; `rng` is of the classifier."""
    x, y = as_array(ours), as_array(theirs)
    return Distances(wasserstein2(x, y), *mmd(x, y), *c2st(x, y, rng))


@torch.no_grad()
def record_samples(run: Run, flow: Flow, test: TestSet, integration: Integration) -> None:
    """Record how far as many samples are from test points, what they cost, and a picture of some."""
    data, n = held_out(test), len(test)
    draw = partial(flow.sample, n, integration=integration)
    timing = time_repeats(lambda: draw(run.torch_generator("timing")), device=run.device, repeats=3)
    run.metric("sampling_time", timing.median, f"{integration.solver.protocol}/{n} points/median of 3", n)
    samples = draw(run.torch_generator("samples"))
    found = distances(samples, data, run.numpy_generator("c2st"))
    run.metric("wasserstein2", found.wasserstein2, f"exact/{n} points", n)
    run.metric("mmd", found.mmd, f"squared, unbiased, Gaussian kernel/{n} points", n, found.mmd_se)
    run.metric("c2st", found.c2st, f"gradient-boosted trees/{n} points of each", n, found.c2st_se)
    run.artifact("samples", samples[:SAMPLES])


def as_array(x: Tensor) -> Array:
    """Return a tensor as an array in float64."""
    array: Array = x.double().cpu().numpy()
    return array
