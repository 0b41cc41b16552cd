"""A flow learns the rows of a table by maximum likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.data import tabular
from bench.measure.clock import time_repeats
from replications.ffjord.method import build, in_test, in_training
from replications.ffjord.tabular_config import DIMENSIONS, SETS
from replications.ffjord.training import fit
from replications.flows import measure
from replications.flows.flow import Flow
from replications.flows.train import Batches, Training

if TYPE_CHECKING:
    from bench.worker import Run
    from replications.ffjord.tabular_config import TabularConfig


def run(run: Run, config: TabularConfig) -> None:
    """Train with early stopping, then measure likelihood, cost, inversion and regularity on test rows."""
    data = tabular.load(config.data)
    train, validation, test = (
        torch.tensor(rows, dtype=torch.float32, device=run.device)
        for rows in (data.train, data.validation, data.test[: config.test_points or None])
    )
    arguments: dict[str, Any] = {
        "dim": data.d,
        "hidden": [factor * data.d for factor in config.factors],
        "activation": config.activation,
        "blocks": config.blocks,
        "T": config.T,
        "learn_T": config.learn_T,
    }
    flow = build(**arguments, generator=run.torch_generator("field")).to(run.device)
    batches = Batches(run, len(train), config.batch)

    def validate() -> float:
        return _validation(run, flow, validation, config)

    fit(run, flow, config, lambda i: train[batches(i).to(run.device)], settings(config), validate)
    run.save_model("replications.ffjord.method:build", arguments, flow.state_dict())
    evaluate(run, flow, test, config)


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
    how = measure.without_training(in_training(config))
    generator = run.torch_generator("validation")
    parts = x.split(config.test_batch)
    return -sum(flow.log_prob(part, generator=generator, how=how).sum().item() for part in parts) / len(x)


def evaluate(run: Run, flow: Flow, test: Tensor, config: TabularConfig) -> None:
    """Record what the trained flow is worth."""
    how = in_test(config)
    measure.likelihood(run, flow, test, how, config.test_batch)
    few = test[: config.checked]
    measure.solver_error(run, flow, few, how)
    measure.inversion(run, flow, few, how)
    measure.regularity(run, flow, few, how)
    draw = len(few)
    timing = time_repeats(lambda: flow.sample(draw, run.torch_generator("timing"), how), device=run.device)
    run.metric("sampling_time", timing.median, f"{how.solver.protocol}/{draw} rows/median of 5", draw)
    measure.end_time(run, flow)
    _published_sizes(run)


def _published_sizes(run: Run) -> None:
    """Record the number of parameters of all the published networks, whatever was trained."""
    for name, network in SETS.items():
        d = DIMENSIONS[name]
        hidden = [factor * d for factor in network["factors"]]
        flow = build(d, hidden, network["activation"], network["blocks"])
        size = sum(p.numel() for p in flow.parameters())
        run.metric(f"parameters[{name}]", size, "FFJORD's Table 4, concatsquash, learned T, untrained")
