"""Train a flow by its objective and record what that cost; for toys, tables and what builds on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from replications.ffjord.method import in_training, objective
from replications.flows import measure
from replications.flows.flow import Flow
from replications.flows.train import Training, train

if TYPE_CHECKING:
    from bench.worker import Run
    from replications.ffjord.flow_config import FlowConfig


def fit(
    run: Run,
    flow: Flow,
    config: FlowConfig,
    batch: Callable[[int], Tensor],
    settings: Training,
    validate: Callable[[], float] | None = None,
) -> None:
    """Train a flow in place; record training, memory, and the cost over plain FFJORD's where the method is another.

    Args:
        run: seeds and results.
        flow: on its device.
        config: objective and integration.
        batch: iteration -> data `(B, *S)`.
        settings: of the optimizer.
        validate: value to be low; see `replications.flows.train.train`.
    """

    def loss(iteration: int, config: FlowConfig = config) -> Tensor:
        return objective(flow, batch(iteration), config, run.torch_generator(f"probes/{iteration}"))

    log = train(run, flow, loss, settings, validate, counted=flow.counted)
    protocol = f"{config.iterations} iterations of {config.batch}/{in_training(config).protocol}"
    run.metric("parameters", sum(p.numel() for p in flow.parameters()), "trainable")
    measure.training(run, log, protocol)
    plain = dataclasses.replace(config, kinetic=0.0, jacobian=0.0, spread=0.0)
    reference = None if plain == config else lambda i: loss(i, plain)
    measure.cost(run, flow, loss, reference, config.repeats, protocol)
