"""Maximum likelihood or flow matching trains one network, until a stated goal and to the end of its budget.

What the goals are, `replications.flow_matching.convergence.validation` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.measure.clock import reader
from bench.metrics.fidelity.quality import quality
from replications.flow_matching import model, points
from replications.flow_matching.convergence.declaration import CNF as MAXIMUM_LIKELIHOOD
from replications.flow_matching.convergence.recording import (
    record_few_steps,
    record_progress,
    record_scores,
)
from replications.flow_matching.convergence.validation import (
    Validation,
    log_ratio,
    measure,
    validation_data,
)
from replications.flow_matching.method import METHODS, draw, objective
from replications.flow_matching.recording import (
    record_debiased_w2,
    record_distances,
    record_paths,
    record_sampled,
    record_w2,
)
from replications.flows.density import evaluate as measured
from replications.flows.density.cnf import CNF
from replications.flows.density.integration import DEFAULT, Integration
from replications.flows.training.clock import TrainingClock
from replications.flows.training.log import Log
from replications.flows.training.settings import Training
from replications.tasks import training
from replications.tasks.cost import Loss
from replications.tasks.density2d.evaluation import SAMPLES, as_array, fresh
from replications.tasks.recording import record_likelihood, record_mean
from replications.tasks.splits import Fresh, held_out

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.flow_matching.convergence.declaration import ConvergenceConfig

Batch = Callable[[int], Tensor]
"""Iteration -> points `(B, D)`."""

BUILDER = "replications.flow_matching.model:build"
SHORT = (("euler", 8), ("midpoint", 4))
"""Steps of eight evaluations, whose samples are recorded and timed."""
TOGETHER = 1000
"""Samples of the scores that are solved together."""
WITH_CLASSES = ("moons",)
"""Sets whose points have classes, for the inception score."""


def run(run: Run, config: ConvergenceConfig) -> None:
    """Train with validations, then measure samples, paths, likelihood and cost."""
    arguments = arguments_of(config)
    flow = model.build(**arguments, generator=run.torch_generator("field")).to(run.device)
    fit(run, flow, config)
    run.save_model(BUILDER, arguments, flow.state_dict())
    evaluate(run, flow, config)


def arguments_of(config: ConvergenceConfig) -> dict[str, Any]:
    """Return the arguments of the flow's builder: one network, and what the method's path says of base and time."""
    arguments: dict[str, Any] = {
        "dim": 2,
        "hidden": list(config.hidden),
        "activation": config.activation,
        "time": "concat",
    }
    if config.method != MAXIMUM_LIKELIHOOD:
        path = METHODS[config.method]().path
        arguments |= {"scale": path.source_std, "times": list(path.times)}
    return arguments


# -- training ---------------------------------------------------------------------------------------------------


def fit(run: Run, flow: CNF, config: ConvergenceConfig) -> Log:
    """Train a flow in place; record its cost, the curves of W2 and KL, and when each reached its goal."""
    clock = training.training_clock(run)
    loss, protocol = loss_of(run, flow, config, clock)
    data = validation_data(run, flow, config)
    validation = Validation(run, config.schedule, lambda: measure(flow, data))
    protocol = f"{config.budget} iterations of {config.batch}/{protocol}"
    log = training.fit(
        run, flow, validation.following(loss), settings(config), protocol, validation, clock=clock
    )
    del run.curves["validation"]  # what is recorded of the validations comes next
    record_progress(run, validation.progress(log.trained), data.reference, config)
    return log


def settings(config: ConvergenceConfig) -> Training:
    """Return how to train: Adam at a constant rate; the average of the weights is validated and kept."""
    return Training(
        config.budget,
        config.learning_rate,
        ema_decay=config.average,
        validate_every=config.validate_every,
    )


def loss_of(run: Run, flow: CNF, config: ConvergenceConfig, clock: TrainingClock) -> tuple[Loss, str]:
    """Return the loss of an iteration, counted from 0, and its name in a protocol id; its data is drawn by a clock."""
    draw_points = clock.drawn(fresh(run, config.data).batch)

    def batch(i: int) -> Tensor:
        return draw_points(i, config.batch).points

    if config.method == MAXIMUM_LIKELIHOOD:
        integration = measured.at_tolerance(DEFAULT, config.tolerance)
        protocol = f"maximum likelihood/{integration.protocol}"
        return maximum_likelihood(flow, batch, integration), protocol
    return regression(run, flow, batch, config), f"{config.method}/mean squared error"


def maximum_likelihood(flow: CNF, batch: Batch, integration: Integration) -> Loss:
    """Return the mean NLL of each iteration's fresh points, nats."""
    return lambda i: -flow.log_prob(batch(i), integration=integration).mean()


def regression(run: Run, flow: CNF, batch: Batch, config: ConvergenceConfig) -> Loss:
    """Return the flow matching loss of each iteration's fresh points; it evaluates the network once."""
    method, velocity = METHODS[config.method](), model.velocity_of(flow)

    def loss(i: int) -> Tensor:
        x1 = batch(i)
        flow.counter.count(1)
        return objective(velocity, method.path, x1, draw(method, x1, run.torch_generator(f"draw/{i}")))

    return loss


# -- evaluation -------------------------------------------------------------------------------------------------


def evaluate(run: Run, flow: CNF, config: ConvergenceConfig) -> None:
    """Record what the trained flow is worth, on fresh points."""
    n, law = config.compared, fresh(run, config.data)
    data, other = held_out(law.test(n)), held_out(law.test(n, "test again"))
    base = flow.prior.sample(n, run.torch_generator("base"), dtype=data.dtype, device=run.device)
    w2 = points.w2(base, data)
    record_w2(run, points.w2(other, data), "data against data", n)
    record_w2(run, w2, "source against data", n)
    likelihood(run, flow, law, config)
    samples(run, flow, base, data, config)
    scores(run, flow, law, config)
    record_paths(run, points.paths(flow, base, w2, config.path_times, DEFAULT.solver), DEFAULT.solver)
    if config.w2_sets:
        debiased(run, flow, law, config)
    for method, steps in (("euler", config.euler_steps), ("midpoint", config.midpoint_steps)):
        record_few_steps(run, points.by_few_steps(flow, base, data, method, steps), method)
    run.artifact("data", data[:SAMPLES])


def likelihood(run: Run, flow: CNF, law: Fresh, config: ConvergenceConfig) -> None:
    """Record the likelihood of fresh points, and the divergence from their law."""
    x = held_out(law.test(config.test_points, "likelihood"))
    found = measured.likelihood(flow, x, DEFAULT, clock=reader(run.device))
    record_likelihood(run, found, DEFAULT)
    protocol = f"{DEFAULT.protocol}/against the known density"
    record_mean(run, "kl", log_ratio(config.data, x, found.log_prob), protocol)


def samples(run: Run, flow: CNF, base: Tensor, data: Tensor, config: ConvergenceConfig) -> None:
    """Record samples by dopri5 and by eight evaluations: distance from the data, evaluations, time."""
    found = points.sampled(flow, base, DEFAULT, config.repeats)
    record_sampled(run, found, DEFAULT.solver, config.repeats)
    draws = run.numpy_generator("directions"), run.numpy_generator("c2st")
    distances = points.distances(found.points, data, *draws)
    record_distances(run, distances, len(data), DEFAULT.solver.protocol)
    run.artifact("samples", found.points[:SAMPLES])
    for method, steps in SHORT:
        integration, name = points.equal_steps(method, steps), f"{method}-{steps}"
        short = points.sampled(flow, base, integration, config.repeats)
        record_sampled(run, short, integration.solver, config.repeats, name)
        record_w2(run, points.w2(short.points, data), name, len(data))


@torch.no_grad()
def debiased(run: Run, flow: CNF, law: Fresh, config: ConvergenceConfig) -> None:
    """Record the debiased W2 of samples by dopri5 and by eight evaluations, and of other data, from the same data."""
    n, sets = config.compared, range(config.w2_sets)
    data, other = (
        torch.stack([held_out(law.test(n, f"{name}/{k}")) for k in sets]) for name in ("sets", "other sets")
    )
    base = [
        flow.prior.sample(n, run.torch_generator(f"sets/{k}"), dtype=data.dtype, device=run.device)
        for k in sets
    ]
    record_debiased_w2(run, points.debiased_w2(other, data), "data against data", "data", data.shape)
    solvers = {"": DEFAULT} | {
        f"{method}-{steps}": points.equal_steps(method, steps) for method, steps in SHORT
    }
    for qualifier, integration in solvers.items():
        drawn = torch.stack([flow.decode(z, integration) for z in base])
        found = points.debiased_w2(drawn, data)
        record_debiased_w2(run, found, qualifier, integration.solver.protocol, data.shape)


def scores(run: Run, flow: CNF, law: Fresh, config: ConvergenceConfig) -> None:
    """Record FID, precision and recall of samples and of other data, and for two moons the inception score."""
    n = config.scored
    reference, other = held_out(law.test(n, "reference")), held_out(law.test(n, "reference again"))
    drawn = torch.cat([
        flow.sample(min(TOGETHER, n - start), run.torch_generator(f"scored/{start}"), DEFAULT)
        for start in range(0, n, TOGETHER)
    ])  # fmt: skip
    for scored, qualifier in ((drawn, ""), (other, "data")):
        pair, rng = (as_array(scored), as_array(reference)), run.numpy_generator("scores")
        found = quality(*pair, "points-v1", config.data, rng)
        record_scores(run, found, config.data in WITH_CLASSES, qualifier)
