"""A flow learns the rows of a table by maximum likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from bench.data import tabular
from bench.measure.clock import time_repeats
from replications.ffjord.method import build, in_test, in_training
from replications.flows.density.flow import Flow
from replications.flows.training.batches import Batches
from replications.flows.training.settings import Training
from replications.tasks import measure
from replications.tasks.tables.declaration import DIMENSIONS, SETS
from replications.tasks.training import fit

if TYPE_CHECKING:
    from bench.execution.worker import Run
    from replications.tasks.tables.declaration import TabularConfig


class Rows(NamedTuple):
    """The rows of a table `(N, D)` on a run's device, in float32."""

    train: Tensor
    validation: Tensor
    test: Tensor


def run(run: Run, config: TabularConfig) -> None:
    """Train with early stopping, then measure likelihood, cost, inversion and regularity on test rows."""
    data = rows(run, config)
    evaluate(run, trained(run, data, config), data.test, config)
    _published_sizes(run)


def rows(run: Run, config: TabularConfig) -> Rows:
    """Return the rows of the config's set; of the test rows as many as it wants."""
    data = tabular.load(config.data)
    parts = data.train, data.validation, data.test[: config.test_points or None]
    return Rows(*(torch.tensor(part, dtype=torch.float32, device=run.device) for part in parts))


def trained(run: Run, data: Rows, config: TabularConfig, protocol: str = "") -> Flow:
    """Return the trained flow; its cost is recorded, under a protocol as for `fit`, and the model kept."""
    d = data.train.shape[1]
    arguments: dict[str, Any] = {
        "dim": d,
        "hidden": [factor * d for factor in config.factors],
        "activation": config.activation,
        "blocks": config.blocks,
        "T": config.T,
        "learn_T": config.learn_T,
    }
    flow = build(**arguments, generator=run.torch_generator("field")).to(run.device)
    batches = Batches(run, len(data.train), config.batch)

    def batch(iteration: int) -> Tensor:
        return data.train[batches(iteration).to(run.device)]

    def validate() -> float:
        return _validation(run, flow, data.validation, config)

    fit(run, flow, config, batch, settings(config), validate, protocol)
    run.save_model("replications.ffjord.method:build", arguments, flow.state_dict())
    return flow


def settings(config: TabularConfig) -> Training:
    """Return how to train: Adam, its rate falling tenfold on each plateau of the validation."""
    return Training(
        config.iterations,
        config.learning_rate,
        weight_decay=config.weight_decay,
        schedule="plateau",
        plateau=config.plateau,
        validate_every=config.validate_every,
        patience=config.patience,
    )


@torch.no_grad()
def _validation(run: Run, flow: Flow, x: Tensor, config: TabularConfig) -> float:
    """Return the NLL of the validation rows by the training's estimator, the same probes each time."""
    integration = measure.without_training(in_training(config))
    generator = run.torch_generator("validation")
    parts = x.split(config.test_batch)
    return -sum(
        flow.log_prob(part, generator=generator, integration=integration).sum().item() for part in parts
    ) / len(x)


def evaluate(run: Run, flow: Flow, test: Tensor, config: TabularConfig) -> None:
    """Record what the trained flow is worth."""
    integration = in_test(config)
    measure.likelihood(run, flow, test, integration, config.test_batch)
    few = test[: config.checked]
    measure.checks(run, flow, few, integration)
    draw = len(few)
    timing = time_repeats(
        lambda: flow.sample(draw, run.torch_generator("timing"), integration), device=run.device
    )
    run.metric("sampling_time", timing.median, f"{integration.solver.protocol}/{draw} rows/median of 5", draw)
    measure.end_time(run, flow)


def _published_sizes(run: Run) -> None:
    """Record the number of parameters of all the published networks, whatever was trained."""
    for name in SETS:
        run.metric(
            f"parameters[{name}]",
            published_size(name),
            "FFJORD's Table 4, concatsquash, learned T, untrained",
        )


def published_size(name: str) -> int:
    """Return the number of parameters of the published network for a set."""
    network, d = SETS[name], DIMENSIONS[name]
    hidden = [factor * d for factor in network["factors"]]
    flow = build(d, hidden, network["activation"], network["blocks"])
    return sum(p.numel() for p in flow.parameters())
