"""Train a method of the suite: by a number of iterations, of evaluations, or for some quiet seconds."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from replications.flows.errors import SolveFailure
from replications.flows.ode.counter import Counter
from replications.flows.training.log import Log
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.suite.config import SuiteConfig
from replications.suite.data import Task
from replications.suite.methods import Model
from replications.suite.pace import QuietTime
from replications.tasks.cost import step_memory
from replications.tasks.recording import record_training
from replications.tasks.training import training_clock

if TYPE_CHECKING:
    from bench.execution.run import Run

ENDLESS = 10**9
"""More iterations than any budget of evaluations allows."""


def fit(run: Run, model: Model, task: Task, config: SuiteConfig) -> Log:
    """Train a model in place as its config says, and record what that cost."""
    module = as_module(model)
    clock = training_clock(run)
    drawn = clock.drawn(task.batch)

    def loss(i: int) -> Tensor:
        return model.loss(drawn(i), run.torch_generator(f"probes/{i}"))

    iterations = config.iterations or ENDLESS
    settings = Training(
        min(iterations, config.at_most or ENDLESS),
        config.learning_rate,
        evaluations=config.evaluations,
    )
    log = train(run, module, loss, settings, counter=counter_of(model), clock=clock)
    protocol = f"{budget(config)}/batch {config.batch}"
    run.metric("parameters", sum(p.numel() for p in module.parameters()), "trainable")
    run.metric("iterations", len(log.losses), protocol)
    record_training(run, log, protocol)
    run.metric("peak_memory", step_memory(loss, module.parameters(), run.device), f"batch {config.batch}")
    return log


def budget(config: SuiteConfig) -> str:
    """Return what a training may spend, as a protocol says it."""
    spent = f"{config.evaluations} evaluations" if config.evaluations else f"{config.budget:g} s"
    return f"at most {config.at_most} iterations" if config.at_most else f"budget {spent}"


class Trial(NamedTuple):
    """How far a training came in its time, and the evaluations that it made, None where they are not counted."""

    iterations: int
    evaluations: int | None


def fit_for(
    seconds: float,
    model: Model,
    task: Task,
    learning_rate: float,
    draws: Callable[[int], torch.Generator],
    quiet: QuietTime | None = None,
    at_most: int = 0,
) -> Trial:
    """Train a model in place for some quiet seconds; see `replications.suite.pace`.

    Args:
        seconds: it ends with the iteration in which they are over.
        model: untrained; its first step, which allocates and uses things first, is taken before the time counts.
        task: gives the batches; drawing them does not count.
        learning_rate: of Adam.
        draws: iteration -> generator of what the loss draws.
        quiet: adds up the time.
        at_most: iterations at which it ends in any case; 0 for no such end.

    Raises:
        SolveFailure: `diverged`, where the loss is not finite.
    """
    module, counter, quiet = as_module(model), counter_of(model), quiet or QuietTime()
    optimizer = torch.optim.Adam(module.parameters(), learning_rate)
    step(model, optimizer, task.batch(0), draws(0))
    done, evaluations = 1, 0
    while quiet.total < seconds and (not at_most or done < at_most):
        x, generator = task.batch(done), draws(done)
        if counter is not None:
            counter.reset()
        quiet.add(partial(step, model, optimizer, x, generator))
        done += 1
        if counter is not None:
            evaluations += counter.forward_evaluations + counter.backward_evaluations
    return Trial(done, None if counter is None else evaluations)


def step(model: Model, optimizer: torch.optim.Optimizer, x: Tensor, generator: torch.Generator) -> None:
    """Take one step of the optimizer.

    Raises:
        SolveFailure: `diverged`, where the loss is not finite.
    """
    optimizer.zero_grad()
    loss = model.loss(x, generator)
    if not math.isfinite(value := loss.item()):
        raise SolveFailure("diverged", f"loss is {value}")
    if loss.requires_grad:  # else the method took its step itself
        loss.backward()
        optimizer.step()


def as_module(model: Model) -> nn.Module:
    """Return a model as the torch module that it is."""
    assert isinstance(model, nn.Module)
    return model


def counter_of(model: object) -> Counter | None:
    """Return what counts the evaluations of a model's field; None where it has no flow."""
    flow = getattr(model, "flow", None)
    return None if flow is None else flow.counter
