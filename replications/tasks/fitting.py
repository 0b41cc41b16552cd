"""Train a flow and record what that cost: size, evaluations, times, loss, memory, added cost over another method."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from bench.execution.worker import Run
from replications.flows.density.flow import Flow
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.tasks import measure

Loss = Callable[[int], Tensor]


def fit(
    run: Run,
    flow: Flow,
    loss: Loss,
    settings: Training,
    protocol: str,
    validate: Callable[[], float] | None = None,
    reference: Loss | None = None,
    repeats: int = 1,
    on_iteration: Callable[[int], None] | None = None,
) -> None:
    """Train a flow in place and record training, memory, and the cost over another method's.

    Args:
        run: seeds and results.
        flow: on its device.
        loss: iteration -> scalar, as `replications.flows.training.loop.train` wants it.
        settings: of the optimizer.
        protocol: of what is recorded: iterations, batch, integration.
        validate: value to be low.
        reference: the same for the method that the cost is compared with; None where there is nothing to compare.
        repeats: timed steps of each.
        on_iteration: called with the iteration after each step.
    """
    log = train(run, flow, loss, settings, validate, on_iteration, counted=flow.counted)
    run.metric("parameters", sum(p.numel() for p in flow.parameters()), "trainable")
    measure.training(run, log, protocol)
    measure.cost(run, flow, loss, reference, repeats, protocol)
