"""Train an OT-Flow: its objective in training and validation, its learning rate, its clamp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from replications.flows.density.flow import Flow
from replications.flows.training.log import Log
from replications.flows.training.settings import Training
from replications.ot_flow.measured import costs_of
from replications.ot_flow.method import METHOD, clamp
from replications.tasks.splits import ValidationSet, to_validate
from replications.tasks.training import fit_by

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.ot_flow.config import OTFlowConfig, PeriodicConfig


def fit(
    run: Run,
    flow: Flow,
    config: OTFlowConfig,
    batch: Callable[[int], Tensor],
    settings: Training,
    validation: ValidationSet,
    protocol: str = "",
    sizes: Sequence[int] = (1,),
) -> Log:
    """Train a flow in place by OT-Flow's objective, and record what that cost.

    Args:
        run: seeds and results.
        flow: on its device.
        config: objective and integration.
        batch: iteration -> data `(B, D)`.
        settings: of the optimizer.
        validation: points whose weighted objective chooses weights and rate.
        protocol: of what is recorded; by default iterations, batch and integration.
        sizes: points of each batch of an epoch; (1,) where all batches have as many.
    """
    x = to_validate(validation)

    def validate() -> float:
        return costs_of(flow, x, config.validation_steps).weighted(config).item()

    return fit_by(
        run,
        flow,
        METHOD,
        config,
        batch,
        settings,
        validate,
        protocol,
        lambda i: clamp(flow, config.clamp),
        sizes,
    )


def precision(config: PeriodicConfig) -> torch.dtype:
    """Return the type of the training."""
    return torch.float64 if config.double else torch.float32


def in_periods(config: PeriodicConfig) -> Training:
    """Return how to train: Adam, its rate divided after each period, the best validated weights kept."""
    drops = tuple(round(i * config.iterations / config.periods) for i in range(1, config.periods))
    return Training(
        config.iterations,
        config.learning_rate,
        schedule="step",
        milestones=drops,
        gamma=1 / config.drop,
        validate_every=config.validate_every,
        keep="best",
    )
