"""Train a flow and record what that cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bench.measure.clock import reader
from replications.flows.density import evaluate as measured
from replications.flows.density.flow import Flow
from replications.flows.training.clock import TrainingClock
from replications.flows.training.log import Log
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.tasks.cost import Loss, added_cost, step_memory
from replications.tasks.method import Method
from replications.tasks.recording import record_training
from replications.tasks.splits import ValidationSet, to_validate

if TYPE_CHECKING:
    from bench.execution.run import Run


def training_clock(run: Run) -> TrainingClock:
    """Return a clock for a training, by which its data is drawn."""
    return TrainingClock(reader(run.device))


def fit(
    run: Run,
    flow: Flow,
    loss: Loss,
    settings: Training,
    protocol: str,
    validate: Callable[[], float] | None = None,
    plain: Loss | None = None,
    repeats: int = 1,
    on_iteration: Callable[[int], None] | None = None,
    sizes: Sequence[int] = (1,),
    clock: TrainingClock | None = None,
) -> Log:
    """Train a flow in place; record training, memory, and the cost over another method's.

    Args:
        run: seeds and results.
        flow: on its device.
        loss: iteration -> scalar, as `replications.flows.training.loop.train` wants it.
        settings: of the optimizer.
        protocol: of what is recorded: iterations, batch, integration.
        validate: value to be low.
        plain: the loss of the method that the cost is compared with; None where there is nothing to compare.
        repeats: timed steps of each.
        on_iteration: called with the iteration after each step.
        sizes: points of each batch of an epoch; (1,) where all batches have as many.
        clock: by which `loss` draws its data; see `training_clock`.
    """
    log = train(run, flow, loss, settings, validate, on_iteration, counter=flow.counter, clock=clock)
    run.metric("parameters", sum(p.numel() for p in flow.parameters()), "trainable")
    record_training(run, log, protocol, sizes=sizes)
    run.metric("peak_memory", step_memory(loss, flow.parameters(), run.device), protocol)
    if plain is not None:
        added = added_cost(flow, loss, plain, repeats, clock or reader(run.device))
        protocol = f"{protocol}/median over {repeats} turns forth and back, trained weights"
        run.metric("overhead[step]", added.step, protocol, repeats)
        run.metric("overhead[evaluation]", added.evaluation, f"{protocol}, time an evaluation", repeats)
    return log


def validation(
    run: Run, flow: Flow, method: Method, config: Any, part: ValidationSet, batch: int = 1000
) -> Callable[[], float]:
    """Return what measures the mean NLL of points that train nothing, integrated as in training.

    Args:
        run: gives the probes, the same each time.
        flow: in training.
        method: its integration.
        config: its settings.
        part: the points `(N, *S)`.
        batch: of them solved together.
    """
    integration = measured.for_evaluation(method.in_training(config))

    def validate() -> float:
        draws = run.torch_generator("validation")
        return measured.likelihood(flow, to_validate(part), integration, batch, draws).nll

    return validate


def fit_by(
    run: Run,
    flow: Flow,
    method: Method,
    config: Any,
    batch: Callable[[int], Tensor],
    settings: Training,
    validate: Callable[[], float] | None = None,
    protocol: str = "",
    on_iteration: Callable[[int], None] | None = None,
    sizes: Sequence[int] = (1,),
) -> Log:
    """Do so by a method's objective; its cost stands beside that of the method without what it adds.

    Args:
        run: seeds and results; the stream `probes/<i>` is that of what iteration i draws beside its batch.
        flow: on its device.
        method: objective and integration.
        config: their settings, with iterations and batch; `repeats` too where the method adds to another one.
        batch: iteration -> data `(B, *S)`.
        settings: of the optimizer.
        validate: value to be low; see `replications.flows.training.loop.train`.
        protocol: of what is recorded; by default iterations, batch and integration.
        on_iteration: called with the iteration after each step.
        sizes: points of each batch of an epoch; (1,) where all batches have as many.
    """

    clock = training_clock(run)
    drawn = clock.drawn(batch)

    def loss(iteration: int, config: Any = config) -> Tensor:
        draws = run.torch_generator(f"probes/{iteration}")
        return method.objective(flow, drawn(iteration), config, draws)

    less = method.plain(config)
    plain = None if less == config else lambda i: loss(i, less)
    protocol = (
        protocol or f"{config.iterations} iterations of {config.batch}/{method.in_training(config).protocol}"
    )
    repeats = 1 if plain is None else config.repeats
    return fit(run, flow, loss, settings, protocol, validate, plain, repeats, on_iteration, sizes, clock)
