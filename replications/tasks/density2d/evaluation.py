"""A flow learns a two-dimensional density by maximum likelihood."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data import toy2d
from bench.measure.clock import time_repeats
from bench.metrics.classification import c2st
from bench.metrics.transport import mmd, wasserstein2
from replications.ffjord.method import build, in_test, in_training
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.training.settings import Training
from replications.tasks import measure
from replications.tasks.training import fit

if TYPE_CHECKING:
    from bench.execution.worker import Run
    from replications.tasks.density2d.declaration import ToyConfig

Array = NDArray[np.float64]

SHOWN = 40
"""Points a side of the density's picture."""
SAMPLES = 300
"""Samples kept for the picture."""


def run(run: Run, config: ToyConfig) -> None:
    """Train, then measure likelihood, cost, regularity, total mass and samples."""
    flow = trained(run, config)
    evaluate(run, flow, config)


def trained(run: Run, config: ToyConfig) -> Flow:
    """Return the trained flow; its cost is recorded and the model kept."""
    arguments: dict[str, Any] = {
        "dim": 2,
        "hidden": list(config.hidden),
        "T": config.T,
        "learn_T": config.learn_T,
    }
    flow = build(**arguments, generator=run.torch_generator("field")).to(run.device)
    settings = Training(config.iterations, config.learning_rate, weight_decay=config.weight_decay)
    fit(run, flow, config, lambda i: points(run, config.data, config.batch, f"batch/{i}"), settings)
    run.save_model("replications.ffjord.method:build", arguments, flow.state_dict())
    return flow


def points(run: Run, name: str, n: int, stream: str) -> Tensor:
    """Return n fresh points `(n, 2)` of a set of `bench.data.toy2d`, on the run's device."""
    x = toy2d.draw(name, n, run.numpy_generator(stream))
    return torch.tensor(x, dtype=torch.float32, device=run.device)


def rounded(x: Tensor) -> tuple[list[float], list[float]]:
    """Return the coordinates of points `(n, 2)` to three decimals: enough for a picture, and short in a record."""
    first, second = x.double().cpu().mul(1000).round().div(1000).unbind(1)
    return first.tolist(), second.tolist()


def evaluate(run: Run, flow: Flow, config: ToyConfig) -> None:
    """Record what the trained flow is worth."""
    integration = in_test(config)
    x = points(run, config.data, config.test_points, "test")
    measure.end_time(run, flow)
    measure.likelihood(run, flow, x, integration)
    if config.steps:
        measure.likelihood(
            run, flow, x, measure.without_training(in_training(config)), qualifier="training solver"
        )
    few = x[: config.compared]
    measure.checks(run, flow, few, integration)
    mass(run, flow, integration, config.grid, config.reach, config.mass_tolerances)
    _samples(run, flow, few, integration)


@torch.no_grad()
def _samples(run: Run, flow: Flow, data: Tensor, integration: Integration) -> None:
    """Record how far as many samples are from the data, and what they cost."""
    n = len(data)
    draw = partial(flow.sample, n, integration=integration)
    timing = time_repeats(lambda: draw(run.torch_generator("timing")), device=run.device, repeats=3)
    run.metric("sampling_time", timing.median, f"{integration.solver.protocol}/{n} points/median of 3", n)
    ours, theirs = (part.double().cpu().numpy() for part in (draw(run.torch_generator("samples")), data))
    _compare(run, ours, theirs)
    run.curve("samples", *rounded(torch.from_numpy(ours[:SAMPLES])), "x", "y")


@torch.no_grad()
def mass(
    run: Run, flow: Flow, integration: Integration, side: int, reach: float, tolerances: tuple[float, ...]
) -> None:
    """Record abs(integral of p - 1) by the trapezoidal rule in float64, and a coarse picture of the density.

    Args:
        run: where to.
        flow: of points in the plane.
        integration: how it is integrated, but for the tolerances.
        side: points a side of the grid over [-reach, reach]^2.
        reach: see `side`.
        tolerances: rtol = atol, one metric each.
    """
    axis = torch.linspace(-reach, reach, side, dtype=torch.float64, device=run.device)
    grid = torch.cartesian_prod(axis, axis)
    for tolerance in tolerances:
        tight = measure.at_tolerance(integration, tolerance)
        with measure.in_float64(flow):
            density = flow.log_prob(grid, integration=tight).exp()
        total = density.sum().item() * (axis[1] - axis[0]).item() ** 2
        told = f"{tight.protocol} in float64/{side}^2 points of [-{reach:g}, {reach:g}]^2, solved together"
        run.metric(f"mass_error[{tolerance:g}]", abs(total - 1), told)
    every = max(1, side // SHOWN)
    shown = density.reshape(side, side)[::every, ::every].flatten().tolist()
    run.curve("density", range(len(shown)), [float(f"{p:.3g}") for p in shown], "cell", "p")


def _compare(run: Run, ours: Array, theirs: Array) -> None:
    """Record distances between samples and as many points of the data."""
    n = len(ours)
    run.metric("wasserstein2", wasserstein2(ours, theirs), f"exact/{n} points", n)
    squared, se = mmd(ours, theirs)
    run.metric("mmd", squared, f"squared, unbiased, Gaussian kernel/{n} points", n, se)
    accuracy, se = c2st(ours, theirs, run.numpy_generator("c2st"))
    run.metric("c2st", accuracy, f"gradient-boosted trees/{n} points of each", n, se)
