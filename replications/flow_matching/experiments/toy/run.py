"""Flow Matching learns a velocity between two-dimensional densities (lipman2023flow, tong2024improving).

| symbol | code | shape | what |
|---|---|---|---|
| x0, x1 | `source`, `data` | `(N, 2)` | points of the source, of the data |
| W_2(q0, q1) | `wasserstein2[source against data]` | | distance of both laws, from as many points of each |
| K | `euler_steps` | | Euler steps of a solve, as many evaluations |

All samples start from the same fresh points of the source, and are compared with the same fresh points of the data. W_2
of two samples of one law is far from zero: `wasserstein2[data against data]` is that of other points of the data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.measure.clock import reader, time_repeats
from bench.registry import resolve
from replications.flow_matching import points
from replications.flow_matching.convergence.run import maximum_likelihood
from replications.flow_matching.experiments.toy.data import Pairs
from replications.flow_matching.experiments.toy.declaration import CNF as MAXIMUM_LIKELIHOOD
from replications.flow_matching.experiments.toy.declaration import NORMAL
from replications.flow_matching.method import METHODS, FlowMatching, draw, objective
from replications.flow_matching.model import velocity_of
from replications.flow_matching.recording import (
    record_distances,
    record_paths,
    record_sampled,
    record_w2,
)
from replications.flows.density import evaluate as measured
from replications.flows.density.cnf import CNF
from replications.flows.density.integration import DEFAULT, Integration
from replications.flows.ode.solver import Solver
from replications.flows.training.settings import Training
from replications.tasks import training
from replications.tasks.cost import Loss
from replications.tasks.density2d.evaluation import fresh
from replications.tasks.recording import record_likelihood, relabel
from replications.tasks.splits import Fresh, held_out

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.flow_matching.experiments.toy.declaration import FlowMatchingToyConfig

Batch = Callable[[int], tuple[Tensor | None, Tensor]]
"""Iteration -> x0 `(B, 2)`, None where it is normal, and x1 `(B, 2)`."""

DIFFUSIONS = ("fm-vp", "fm-ve")
SAMPLES = 600
"""Samples kept for a picture: the squares of a board need more than other sets."""


def run(run: Run, config: FlowMatchingToyConfig) -> None:
    """Train, then measure samples, paths, likelihood and cost."""
    method, pairs = method_of(config), Pairs(run, config)
    flow = trained(run, method, pairs, config)
    if method is not None:
        record_coupling(run, method, pairs, config.repeats)
    evaluate(run, flow, config)


def method_of(config: FlowMatchingToyConfig) -> FlowMatching | None:
    """Return path and coupling; None for maximum likelihood."""
    if config.method == MAXIMUM_LIKELIHOOD:
        return None
    return METHODS[config.method](*(() if config.method in DIFFUSIONS else (config.sigma,)))


# -- training ---------------------------------------------------------------------------------------------------


def trained(run: Run, method: FlowMatching | None, pairs: Pairs, config: FlowMatchingToyConfig) -> CNF:
    """Return the trained flow; its cost is recorded and the model kept."""
    arguments: dict[str, Any] = {"dim": 2, "hidden": list(config.hidden)}
    if method is not None:
        arguments |= {"scale": method.path.source_std, "times": list(method.path.times)}
    module = "model"
    if config.source != NORMAL:
        module, arguments["source"] = "sources", config.source
    builder = f"replications.flow_matching.{module}:build"
    flow: CNF = resolve(builder)(**arguments, generator=run.torch_generator("field")).to(run.device)
    fit(run, flow, method, pairs, config)
    run.save_model(builder, arguments, flow.state_dict())
    return flow


def fit(
    run: Run, flow: CNF, method: FlowMatching | None, pairs: Pairs, config: FlowMatchingToyConfig
) -> None:
    """Train a flow in place, by the regression of a method or by maximum likelihood."""
    clock = training.training_clock(run)
    batch = clock.drawn(pairs)
    if method is None:
        integration = Integration(Solver("euler", steps=config.own_steps), gradient="adjoint")
        loss = maximum_likelihood(flow, lambda i: batch(i)[1], integration)
        of = f"maximum likelihood/{integration.protocol}"
    else:
        loss = regression(run, flow, method, batch)
        of = "mean squared error about the targets of its own path"
    protocol = f"{config.iterations} iterations of {config.batch}/{of}"
    training.fit(run, flow, loss, settings(config), protocol, clock=clock, sizes=pairs.sizes)
    if method is not None:
        relabel(run, "loss", "mean squared error")


def regression(run: Run, flow: CNF, method: FlowMatching, batch: Batch) -> Loss:
    """Return the flow matching loss of each iteration; it evaluates the network once, and solves nothing."""
    velocity = velocity_of(flow)

    def loss(i: int) -> Tensor:
        x0, x1 = batch(i)
        drawn = draw(method, x1, run.torch_generator(f"draw/{i}"), x0)
        flow.counter.count(1)
        return objective(velocity, method.path, x1, drawn)

    return loss


def settings(config: FlowMatchingToyConfig) -> Training:
    """Return how to train, at a constant rate."""
    return Training(
        config.iterations,
        config.learning_rate,
        optimizer=config.optimizer,
        weight_decay=config.weight_decay,
    )


def record_coupling(run: Run, method: FlowMatching, pairs: Pairs, repeats: int) -> None:
    """Record the median time in which a batch's noise is given its data."""
    x0, x1 = pairs(0)
    generator = run.torch_generator("timing")
    noise = torch.randn(x1.shape, generator=generator).to(x1) if x0 is None else x0
    timing = time_repeats(lambda: method.coupling(noise, x1, generator), device=run.device, repeats=repeats)
    protocol = f"{len(x1)} pairs/median of {repeats}"
    run.metric("iteration_time[coupling]", timing.median, protocol, repeats)


# -- evaluation -------------------------------------------------------------------------------------------------


def evaluate(run: Run, flow: CNF, config: FlowMatchingToyConfig) -> None:
    """Record what the trained flow is worth, on fresh points."""
    n, law = config.compared, fresh(run, config.data)
    data, other = held_out(law.test(n)), held_out(law.test(n, "test again"))
    source = flow.prior.sample(n, run.torch_generator("source"), dtype=data.dtype, device=run.device)
    w2 = points.w2(source, data)
    record_w2(run, points.w2(other, data), "data against data", n)
    record_w2(run, w2, "source against data", n)
    if config.source == NORMAL:
        likelihood(run, flow, law, config)
    samples(run, flow, source, data, config)
    record_paths(run, points.paths(flow, source, w2, config.path_times, DEFAULT.solver), DEFAULT.solver)
    few_steps(run, flow, source, data, config)


def likelihood(run: Run, flow: CNF, law: Fresh, config: FlowMatchingToyConfig) -> None:
    """Record the likelihood of fresh points, which a flow from a set of points has not."""
    x = held_out(law.test(config.test_points, "likelihood"))
    record_likelihood(run, measured.likelihood(flow, x, DEFAULT, clock=reader(run.device)), DEFAULT)


def samples(run: Run, flow: CNF, source: Tensor, data: Tensor, config: FlowMatchingToyConfig) -> None:
    """Record samples, their distance from the data, evaluations and time, by dopri5 and by the code's own solver."""
    own = points.equal_steps("euler", config.own_steps)
    for qualifier, integration in {"": DEFAULT, f"euler-{config.own_steps}": own}.items():
        found, solver = points.sampled(flow, source, integration, config.repeats), integration.solver
        record_sampled(run, found, solver, config.repeats, qualifier)
        draws = run.numpy_generator("directions"), run.numpy_generator("c2st")
        distances = points.distances(found.points, data, *draws)
        record_distances(run, distances, len(data), solver.protocol, qualifier)
        if not qualifier:
            run.artifact("samples", found.points[:SAMPLES])


def few_steps(run: Run, flow: CNF, source: Tensor, data: Tensor, config: FlowMatchingToyConfig) -> None:
    """Record W2 for few steps of Euler, with a curve, and of the midpoint rule, with pictures."""
    euler = points.by_few_steps(flow, source, data, "euler", config.euler_steps)
    midpoint = points.by_few_steps(flow, source, data, "midpoint", config.midpoint_steps)
    for steps, found in zip(config.euler_steps, euler, strict=True):
        record_w2(run, found.wasserstein2, f"euler-{steps}", len(data))
    run.curve(
        "w2_against_nfe",
        [found.nfe for found in euler],
        [found.wasserstein2 for found in euler],
        "NFE, Euler",
        "W2",
    )
    for steps, found in zip(config.midpoint_steps, midpoint, strict=True):
        record_w2(run, found.wasserstein2, f"midpoint-{steps}", len(data))
        run.artifact(f"samples midpoint-{steps}", found.points[:SAMPLES])
