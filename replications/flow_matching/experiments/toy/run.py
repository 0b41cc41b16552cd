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

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.measure.clock import reader, time_repeats
from bench.registry import resolve
from replications.flow_matching.experiments.toy.declaration import NORMAL
from replications.flow_matching.method import METHODS, Method, draw, objective
from replications.flow_matching.model import velocity_of
from replications.flow_matching.points import compare, distance, record_paths
from replications.flows.density import evaluate as measured
from replications.flows.density.cnf import CNF
from replications.flows.density.integration import DEFAULT, Integration
from replications.flows.ode.solve import Solver
from replications.flows.training.batches import Batches
from replications.flows.training.settings import Training
from replications.tasks import training
from replications.tasks.density2d.evaluation import fresh
from replications.tasks.recording import record_likelihood
from replications.tasks.splits import held_out

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.flow_matching.experiments.toy.declaration import ToyConfig

DIFFUSIONS = ("fm-vp", "fm-ve")
SAMPLES = 600
"""Samples kept for a picture: the squares of a board need more than other sets."""


def run(run: Run, config: ToyConfig) -> None:
    """Train, then measure samples, paths, likelihood and cost."""
    flow = trained(run, config)
    evaluate(run, flow, config)


def method_of(config: ToyConfig) -> Method:
    """Return path and coupling."""
    return METHODS[config.method](*(() if config.method in DIFFUSIONS else (config.sigma,)))


def trained(run: Run, config: ToyConfig) -> CNF:
    """Return the trained flow; its cost is recorded and the model kept."""
    method = method_of(config)
    arguments: dict[str, Any] = {
        "dim": 2,
        "hidden": list(config.hidden),
        "scale": method.path.source_std,
        "times": list(method.path.times),
    }
    module = "model"
    if config.source != NORMAL:
        module, arguments["source"] = "sources", config.source
    builder = f"replications.flow_matching.{module}:build"
    flow: CNF = resolve(builder)(**arguments, generator=run.torch_generator("field")).to(run.device)
    fit(run, flow, method, config)
    run.save_model(builder, arguments, flow.state_dict())
    return flow


def fit(run: Run, flow: CNF, method: Method, config: ToyConfig) -> None:
    """Train a flow in place; one iteration evaluates the network once, and solves nothing."""
    velocity, pairs = velocity_of(flow), Pairs(run, flow, config)

    def loss(i: int) -> Tensor:
        x0, x1 = pairs(i)
        drawn = draw(method, x1, run.torch_generator(f"draw/{i}"), x0)
        flow.counter.count(1)
        return objective(velocity, method.path, x1, drawn)

    settings = Training(
        config.iterations, config.learning_rate, optimizer="adamw", weight_decay=config.weight_decay
    )
    told = f"{config.iterations} iterations of {config.batch}/mean squared error about the targets of its own path"
    training.fit(run, flow, loss, settings, told)
    curve = run.curves["loss"]
    run.curve("loss", curve.x, curve.y, "iteration", "mean squared error")
    _time_coupling(run, method, pairs, config)


class Pairs:
    """Batches of a run as a function of the iteration: x1 in permuted epochs; x0 at random where the source is a set.

    Args:
        run: gives the streams.
        flow: has the source.
        config: names the sets and their sizes.
    """

    def __init__(self, run: Run, flow: CNF, config: ToyConfig) -> None:
        self.run, n = run, config.train_points
        self._batches = Batches(run, n, config.batch)
        self._x1, self._x0 = held_out(fresh(run, config.data).test(n, "train")), None
        if config.source != NORMAL:
            self._x0 = held_out(fresh(run, config.source).test(n, "train source"))

    def __call__(self, iteration: int) -> tuple[Tensor | None, Tensor]:
        """Return x0 `(B, 2)`, None where it is normal, and x1 `(B, 2)`."""
        x1 = self._x1[self._batches(iteration)]
        if self._x0 is None:
            return None, x1
        generator = self.run.torch_generator(f"source/{iteration}")
        return self._x0[torch.randint(len(self._x0), (len(x1),), generator=generator)], x1


def _time_coupling(run: Run, method: Method, pairs: Pairs, config: ToyConfig) -> None:
    """Record the median time in which a batch's noise is given its data."""
    x0, x1 = pairs(0)
    generator = run.torch_generator("timing")
    noise = torch.randn(x1.shape, generator=generator).to(x1) if x0 is None else x0
    timing = time_repeats(
        lambda: method.coupling(noise, x1, generator), device=run.device, repeats=config.repeats
    )
    told = f"{len(x1)} pairs/median of {config.repeats}"
    run.metric("iteration_time[coupling]", timing.median, told, config.repeats)


@torch.no_grad()
def evaluate(run: Run, flow: CNF, config: ToyConfig) -> None:
    """Record what the trained flow is worth."""
    n, integration = config.compared, DEFAULT
    data, other = (held_out(fresh(run, config.data).test(n, stream)) for stream in ("test", "test again"))
    source = flow.prior.sample(n, run.torch_generator("source"), dtype=data.dtype, device=run.device)
    distance(run, other, data, "data against data")
    w2 = distance(run, source, data, "source against data")
    if config.source == NORMAL:
        x = held_out(fresh(run, config.data).test(config.test_points, "likelihood"))
        record_likelihood(
            run, measured.likelihood(flow, x, integration, clock=reader(run.device)), integration
        )
    _samples(run, flow, source, data, config)
    record_paths(run, flow, source, w2, config.path_times, integration.solver)
    _few_steps(run, flow, source, data, config)


def _samples(run: Run, flow: CNF, source: Tensor, data: Tensor, config: ToyConfig) -> None:
    """Record samples, their distance from the data, evaluations and time, by dopri5 and by the code's own solver."""
    for integration, qualifier in ((DEFAULT, ""), (euler(config.own_steps), f"euler-{config.own_steps}")):
        key, n = f"[{qualifier}]" if qualifier else "", len(source)
        flow.counter.reset()
        samples = flow.decode(source, integration)
        run.metric(
            f"nfe{key}",
            flow.counter.forward_evaluations,
            f"{integration.solver.protocol}/{n} points together",
        )
        compare(run, samples, data, integration.solver.protocol, qualifier)
        timing = time_repeats(
            partial(flow.decode, source, integration), device=run.device, repeats=config.repeats
        )
        told = f"{integration.solver.protocol}/{n} points/median of {config.repeats}"
        run.metric(f"sampling_time{key}", timing.median, told, n)
        if not qualifier:
            run.artifact("samples", samples[:SAMPLES])


def _few_steps(run: Run, flow: CNF, source: Tensor, data: Tensor, config: ToyConfig) -> None:
    """Record W2 for few steps of Euler, with a curve, and of the midpoint rule, with pictures."""
    errors = []
    for steps in config.euler_steps:
        samples = flow.decode(source, euler(steps))
        errors.append(distance(run, samples, data, f"euler-{steps}"))
    run.curve("w2_against_nfe", config.euler_steps, errors, "NFE, Euler", "W2")
    for steps in config.midpoint_steps:
        samples = flow.decode(source, Integration(Solver("midpoint", steps=steps)))
        distance(run, samples, data, f"midpoint-{steps}")
        run.artifact(f"samples midpoint-{steps}", samples[:SAMPLES])


def euler(steps: int) -> Integration:
    """Return so many steps of Euler."""
    return Integration(Solver("euler", steps=steps))
