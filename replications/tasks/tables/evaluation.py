"""Train a flow on the rows of a table, and measure what it is worth on its test rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.data import tabular
from bench.measure.clock import reader, time_repeats
from replications.flows.density import evaluate as measured
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.training.settings import Training
from replications.tasks.method import Method, build, in_test
from replications.tasks.recording import record_checks, record_end_time, record_likelihood
from replications.tasks.splits import (
    Split,
    TestSet,
    TrainBatches,
    TrainSet,
    ValidationSet,
    first,
    held_out,
)
from replications.tasks.training import fit_by, validation

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.tasks.tables.declaration import TableConfig


def rows(run: Run, config: TableConfig) -> Split:
    """Return the rows `(N, D)` of the config's set, in float32; of the test rows as many as it wants."""
    data = tabular.load(config.data)

    def tensor(part: Any) -> Tensor:
        return torch.tensor(part, dtype=torch.float32, device=run.device)

    test = first(TestSet(tensor(data.test)), config.test_points)
    return Split(TrainSet(tensor(data.train)), ValidationSet(tensor(data.validation)), test)


def trained(
    run: Run,
    data: Split,
    config: TableConfig,
    method: Method,
    builder: str,
    arguments: dict[str, Any],
    protocol: str = "",
) -> Flow:
    """Return the flow that a builder makes, trained by a method with early stopping; cost recorded, model kept.

    Args:
        run: seeds and results.
        data: rows.
        config: of training and validation.
        method: objective and integration.
        builder: see `replications.tasks.method.build`.
        arguments: of the builder.
        protocol: of what is recorded; see `replications.tasks.training.fit_by`.
    """
    flow = build(builder, arguments, run.torch_generator("field")).to(run.device)
    batches = TrainBatches(run, data.train, config.batch)
    validate = validation(run, flow, method, config, data.validation, config.test_batch)
    fit_by(run, flow, method, config, batches, settings(config), validate, protocol, sizes=batches.sizes)
    run.save_model(builder, arguments, flow.state_dict())
    return flow


def settings(config: TableConfig) -> Training:
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


def evaluate(run: Run, flow: Flow, test: TestSet, config: TableConfig) -> measured.Likelihood:
    """Record likelihood, its error, inversion, regularity and sampling time of a trained flow on test rows.

    Returns:
        The likelihood, for what else it is compared with.
    """
    integration, clock = in_test(config), reader(run.device)
    found = measured.likelihood(flow, held_out(test), integration, config.test_batch, clock=clock)
    record_likelihood(run, found, integration, config.test_batch)
    few = first(test, config.checked)
    record_checks(run, flow, held_out(few), integration)
    record_sampling_time(run, flow, len(few), integration)
    record_end_time(run, flow)
    return found


def record_sampling_time(run: Run, flow: Flow, n: int, integration: Integration) -> None:
    """Record the median time in which n rows are drawn."""
    timing = time_repeats(
        lambda: flow.sample(n, run.torch_generator("timing"), integration), device=run.device
    )
    run.metric("sampling_time", timing.median, f"{integration.solver.protocol}/{n} rows/median of 5", n)
