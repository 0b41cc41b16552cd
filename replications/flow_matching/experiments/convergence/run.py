r"""Maximum likelihood or flow matching trains one network, until a stated goal and to the end of its budget.

| symbol | code | shape | equation |
|---|---|---|---|
| q, p | `log_density`, `flow` | | law of the data, density of the flow |
| x_n | `Validation.data` | `(N, 2)` | fresh points of q, the same at every validation |
| W_2 | `Validation` | | of N samples, always from the same base points, and the x_n |
| Y | `Validation.yardstick` | | mean W_2 of other points of q, N at a time, and the x_n |
| KL | `Validation` | | 1/N sum_n log q(x_n) - log p(x_n), in nats, exact trace |

A goal is reached at the first validation whose value and whose successor's are at most the goal: W_2 <= 1.5 Y, or
KL <= 0.1 nats. Both are absolute: no arm sets its own goal, and an early plateau is no convergence. Two in a row, since
one may be a fluctuation. The likelihood is what a CNF is trained on, W_2 what neither arm is. Of a goal that is never
reached nothing is recorded: the length of the training is no measure of it.

A validation takes no part in the training: its time is not counted, and it draws from streams of its own.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bench.measure.clock import reader, time_repeats
from bench.metrics.fidelity.quality import quality
from bench.metrics.transport import wasserstein2
from bench.record import write_atomically
from replications.flow_matching import model
from replications.flow_matching.experiments.convergence.declaration import CNF as MAXIMUM_LIKELIHOOD
from replications.flow_matching.experiments.convergence.densities import log_density
from replications.flow_matching.method import METHODS, Method, draw, objective
from replications.flow_matching.points import compare, distance, record_paths
from replications.flows.density import evaluate as measured
from replications.flows.density.cnf import CNF
from replications.flows.density.integration import DEFAULT, Integration
from replications.flows.ode.solve import Solver
from replications.flows.training.log import Log
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.tasks.cost import step_memory
from replications.tasks.density2d.evaluation import SAMPLES, fresh
from replications.tasks.recording import record_likelihood, record_training
from replications.tasks.splits import held_out

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.flow_matching.experiments.convergence.declaration import ConvergenceConfig

Loss = Callable[[int], Tensor]

SHORT = (("euler", 8), ("midpoint", 4))
"""Steps of eight evaluations, whose samples are recorded and timed."""


def run(run: Run, config: ConvergenceConfig) -> None:
    """Train with validations, then measure samples, paths, likelihood and cost."""
    arguments: dict[str, Any] = {
        "dim": 2,
        "hidden": list(config.hidden),
        "activation": config.activation,
        "time": "concat",
    }
    if config.method != MAXIMUM_LIKELIHOOD:
        path = METHODS[config.method]().path
        arguments |= {"scale": path.source_std, "times": list(path.times)}
    flow = model.build(**arguments, generator=run.torch_generator("field")).to(run.device)
    fit(run, flow, config)
    run.save_model("replications.flow_matching.model:build", arguments, flow.state_dict())
    evaluate(run, flow, config)


# -- Training -------------------------------------------------------------------------------------------------------


def fit(run: Run, flow: CNF, config: ConvergenceConfig) -> Log:
    """Train a flow in place; record its cost, the curves of W2 and KL, and when each reached its goal."""
    loss, told = loss_of(run, flow, config)
    validation = Validation(run, flow, config)
    settings = Training(
        config.budget,
        config.learning_rate,
        ema_decay=config.average,
        validate_every=config.validate_every,
    )
    log = train(run, flow, validation.following(loss), settings, validation, counter=flow.counter)
    told = f"{config.budget} iterations of {config.batch}/{told}"
    run.metric("parameters", sum(p.numel() for p in flow.parameters()), "trainable")
    record_training(run, log, told)
    del run.curves["validation"]  # recorded below
    run.metric("peak_memory", step_memory(loss, flow.parameters(), run.device), told)
    validation.record(log)
    return log


def loss_of(run: Run, flow: CNF, config: ConvergenceConfig) -> tuple[Loss, str]:
    """Return the loss of an iteration, counted from 0, and its name in a protocol id."""

    def batch(i: int) -> Tensor:
        return fresh(run, config.data).batch(i, config.batch).points

    if config.method == MAXIMUM_LIKELIHOOD:
        integration = measured.at_tolerance(DEFAULT, config.tolerance)
        return (
            lambda i: -flow.log_prob(batch(i), integration=integration).mean(),
            f"maximum likelihood/{integration.protocol}",
        )
    method: Method = METHODS[config.method]()
    velocity = model.velocity_of(flow)

    def regression(i: int) -> Tensor:
        x1 = batch(i)
        flow.counter.count(1)
        return objective(velocity, method.path, x1, draw(method, x1, run.torch_generator(f"draw/{i}")))

    return regression, f"{config.method}/mean squared error"


class Validation:
    """W2 and KL of a flow in training, at each validation; what was found lies in a file, for a training that resumes.

    Args:
        run: gives the streams and the file's place.
        flow: in training.
        config: data, goals and sizes.
    """

    def __init__(self, run: Run, flow: CNF, config: ConvergenceConfig) -> None:
        self.run, self.flow, self.config = run, flow, config
        n = config.compared
        self.data = held_out(fresh(run, config.data).test(n, "validation"))
        base = run.torch_generator("validation base")
        self.base = flow.prior.sample(n, base, dtype=self.data.dtype, device=run.device)
        others = (
            held_out(fresh(run, config.data).test(n, f"yardstick/{i}")) for i in range(config.yardsticks)
        )
        self.yardstick = float(np.mean([_w2(other, self.data) for other in others]))
        self.log_q = torch.from_numpy(log_density(config.data, self.data.cpu()))
        self.place = run.checkpoint("validations")
        self.found: dict[int, tuple[float, float]] = {}
        if self.place.is_file():
            self.found = {i: (w2, kl) for i, w2, kl in json.loads(self.place.read_text())}
        self.done = 0

    def following(self, loss: Loss) -> Loss:
        """Return the same loss, by whose calls the validations know how many iterations were done."""

        def followed(i: int) -> Tensor:
            self.done = i + 1
            return loss(i)

        return followed

    @torch.no_grad()
    def __call__(self) -> float:
        """Measure the weights of now, where the schedule has this iteration; return KL, or infinity."""
        if self.done not in self.config.schedule:
            return math.inf
        w2 = _w2(self.flow.decode(self.base, DEFAULT), self.data)
        kl = (self.log_q - self.flow.log_prob(self.data, integration=DEFAULT).double().cpu()).mean().item()
        self.found[self.done] = w2, kl
        rows = [(i, *values) for i, values in sorted(self.found.items())]
        write_atomically(self.place, json.dumps(rows).encode())
        return kl

    def record(self, log: Log) -> None:
        """Record both curves against iterations and against the training's seconds, and when each goal was reached."""
        done = [i for i in self.config.schedule if i in self.found]
        clock = np.cumsum(log.seconds)
        seconds = [float(clock[i - 1]) for i in done]
        columns = zip(*(self.found[i] for i in done), strict=True)
        config, n = self.config, self.config.compared
        w2 = config.w2_goal * self.yardstick, f"W2 <= {config.w2_goal:g} x data against data"
        goals = {"wasserstein2": w2, "kl": (config.kl_goal, f"KL <= {config.kl_goal:g} nats")}
        for (name, (goal, what)), values in zip(goals.items(), columns, strict=True):
            label = {"wasserstein2": "W2", "kl": "KL (nats)"}[name]
            self.run.curve(name, done, values, "iteration", label)
            self.run.curve(f"{name} seconds", seconds, values, "training seconds", label)
            k = reached(values, goal)
            if k is not None:
                told = f"{what}, two in a row/{n} points"
                self.run.metric(f"iterations_to_target[{name}]", done[k], told, n)
                self.run.metric(f"time_to_target[{name}]", seconds[k], told, n)
        protocol = f"exact/{n} points/mean of {config.yardsticks} sets of other data"
        self.run.metric("wasserstein2[validation data]", self.yardstick, protocol, n)


def reached(values: Sequence[float], goal: float) -> int | None:
    """Return the first place where a value and its successor are at most the goal, None where there is none.

    A last value that reaches the goal alone does not count: nothing confirms it.
    """
    pairs = itertools.pairwise(values)
    return next((k for k, pair in enumerate(pairs) if max(pair) <= goal), None)


# -- After training -------------------------------------------------------------------------------------------------


@torch.no_grad()
def evaluate(run: Run, flow: CNF, config: ConvergenceConfig) -> None:
    """Record what the trained flow is worth, on fresh points."""
    n = config.compared
    data, other = (held_out(fresh(run, config.data).test(n, stream)) for stream in ("test", "test again"))
    base = flow.prior.sample(n, run.torch_generator("base"), dtype=data.dtype, device=run.device)
    distance(run, other, data, "data against data")
    w2 = distance(run, base, data, "source against data")
    _likelihood(run, flow, config)
    _samples(run, flow, base, data, config)
    _scores(run, flow, config)
    record_paths(run, flow, base, w2, config.path_times, DEFAULT.solver)
    for name, counts in (("euler", config.euler_steps), ("midpoint", config.midpoint_steps)):
        nfe = [steps * (2 if name == "midpoint" else 1) for steps in counts]
        errors = [_w2(flow.decode(base, _fixed(name, steps)), data) for steps in counts]
        run.curve(f"w2_against_nfe {name}", nfe, errors, f"NFE, {name}", "W2")
    run.artifact("data", data[:SAMPLES])


def _likelihood(run: Run, flow: CNF, config: ConvergenceConfig) -> None:
    """Record the likelihood of fresh points, and the divergence from their law."""
    x = held_out(fresh(run, config.data).test(config.test_points, "likelihood"))
    found = measured.likelihood(flow, x, DEFAULT, clock=reader(run.device))
    record_likelihood(run, found, DEFAULT)
    nll = -found.log_prob
    excess = nll + torch.from_numpy(log_density(config.data, x.cpu()))
    se = excess.std().item() / len(excess) ** 0.5
    run.metric("kl", excess.mean().item(), f"{DEFAULT.protocol}/against the known density", len(x), se)


def _samples(run: Run, flow: CNF, base: Tensor, data: Tensor, config: ConvergenceConfig) -> None:
    """Record samples by dopri5 and by eight evaluations: distance from the data, evaluations, time."""
    n = len(base)
    for integration, qualifier in (
        (DEFAULT, ""),
        *((_fixed(*short), f"{short[0]}-{short[1]}") for short in SHORT),
    ):
        key, solver = f"[{qualifier}]" if qualifier else "", integration.solver.protocol
        flow.counter.reset()
        samples = flow.decode(base, integration)
        run.metric(f"nfe{key}", flow.counter.forward_evaluations, f"{solver}/{n} points together", n)
        timing = time_repeats(
            partial(flow.decode, base, integration), device=run.device, repeats=config.repeats
        )
        run.metric(f"sampling_time{key}", timing.median, f"{solver}/{n} points/median of {config.repeats}", n)
        if qualifier:
            distance(run, samples, data, qualifier)
        else:
            compare(run, samples, data, solver)
            run.artifact("samples", samples[:SAMPLES])


def _scores(run: Run, flow: CNF, config: ConvergenceConfig) -> None:
    """Record FID, precision and recall of samples and of other data, and for two moons the inception score."""
    n = config.scored
    reference, other = (
        held_out(fresh(run, config.data).test(n, f"reference{part}")) for part in ("", " again")
    )
    samples = torch.cat([
        flow.sample(min(1000, n - start), run.torch_generator(f"scored/{start}"), DEFAULT)
        for start in range(0, n, 1000)
    ])  # fmt: skip
    for scored, key in ((samples, ""), (other, "data")):
        ours, theirs = (each.double().cpu().numpy() for each in (scored, reference))
        scores = quality(ours, theirs, "points-v1", config.data, run.numpy_generator("scores"))
        wanted = ["fid", "fid[extrapolated]", "precision", "recall"]
        wanted += ["inception_score"] * (config.data == "moons")
        for name, score in scores.items():
            if name in wanted:
                qualified = name if not key else f"{name}[{key}]".replace("][", ", ")
                run.metric(qualified, *dataclasses.astuple(score))


def _fixed(method: str, steps: int) -> Integration:
    return Integration(Solver(method, steps=steps))


def _w2(ours: Tensor, theirs: Tensor) -> float:
    return wasserstein2(*(x.double().cpu().numpy() for x in (ours, theirs)))
