"""Train a flow by its objective and record what that cost; for toys, tables and what builds on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from replications.ffjord.method import in_training, objective
from replications.flows.density.flow import Flow
from replications.flows.training.settings import Training
from replications.tasks import fitting

if TYPE_CHECKING:
    from bench.execution.worker import Run
    from replications.tasks.flow_config import FlowConfig


def fit(
    run: Run,
    flow: Flow,
    config: FlowConfig,
    batch: Callable[[int], Tensor],
    settings: Training,
    validate: Callable[[], float] | None = None,
    protocol: str = "",
) -> None:
    """Train a flow in place; record training, memory, and the cost over plain FFJORD's where the method is another.

    Args:
        run: seeds and results.
        flow: on its device.
        config: objective and integration.
        batch: iteration -> data `(B, *S)`.
        settings: of the optimizer.
        validate: value to be low; see `replications.flows.training.loop.train`.
        protocol: of what is recorded; by default iterations, batch and integration.
    """

    def loss(iteration: int, config: FlowConfig = config) -> Tensor:
        return objective(flow, batch(iteration), config, run.torch_generator(f"probes/{iteration}"))

    plain = dataclasses.replace(config, kinetic=0.0, jacobian=0.0, spread=0.0)
    reference = None if plain == config else lambda i: loss(i, plain)
    protocol = protocol or f"{config.iterations} iterations of {config.batch}/{in_training(config).protocol}"
    fitting.fit(run, flow, loss, settings, protocol, validate, reference, config.repeats)
