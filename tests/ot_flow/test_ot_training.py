"""How an OT-Flow is trained: what its validation measures, when its rate falls, what is clamped."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from planted_potentials import contraction, normal
from torch import Tensor

from bench.execution.run import Run
from bench.identity import Identity
from replications.flows.training.settings import Training
from replications.ot_flow.config import OTFlowConfig, PeriodicConfig
from replications.ot_flow.experiments import MNIST, TABULAR, TOY
from replications.ot_flow.experiments.tabular import run as tabular
from replications.ot_flow.measured import costs_of
from replications.ot_flow.method import objective
from replications.ot_flow.training import fit, in_periods, precision
from replications.tasks.splits import TestSet, TrainSet, ValidationSet

CONFIG = OTFlowConfig(steps=2, alpha_C=2.0, alpha_R=0.5, validation_steps=5, batch=8, iterations=3)
STILL = Training(3, 0.0, validate_every=1)
"""A training whose weights stay what they are."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Identity("test.training", "only", "smoke", 0, 1, {}, {}), tmp_path)


def batch(i: int) -> Tensor:
    return normal(8, 2, seed=100 + i)


def test_losses_are_the_objective_of_each_batch_and_validations_that_of_the_validation_set(run: Run) -> None:
    flow, x = contraction(0.7), normal(20, 2)
    log = fit(run, flow, CONFIG, batch, STILL, ValidationSet(x))
    expected = [objective(flow, batch(i), CONFIG).item() for i in range(3)]
    assert log.losses == pytest.approx(expected, rel=1e-12)
    terms = costs_of(flow, x, 5)  # validation_steps, not those of the training
    value = (terms.L + 2 * terms.C + 0.5 * terms.R).mean().item()
    assert [found for _, found in log.validations] == pytest.approx([value] * 3, rel=1e-12)
    other = costs_of(flow, x, 2).weighted(CONFIG).item()
    assert abs(value - other) > 1e-6
    assert run.metrics["train_loss"].protocol == "3 iterations of 8/exact-trace/rk4-2/last 1 iterations"
    assert run.metrics["nfe_forward"].value == 4 * 2


def test_a_training_takes_a_validation_set_and_no_other(run: Run) -> None:
    for part in (TrainSet(normal(4, 2)), TestSet(normal(4, 2))):
        with pytest.raises(TypeError, match="takes a ValidationSet"):
            fit(run, contraction(0.7), CONFIG, batch, STILL, part)  # type: ignore[arg-type]


def test_every_weight_is_clamped_after_every_step(run: Run) -> None:
    """The last iteration is clamped too, after its validation; without early stopping its weights are kept."""
    flow, rate = contraction(0.7), 0.05
    fit(run, flow, dataclasses.replace(CONFIG, clamp=0.1), batch, Training(3, rate), ValidationSet(batch(9)))
    assert max(p.abs().max().item() for p in flow.parameters()) == pytest.approx(0.1)


def test_the_best_validated_weights_are_kept(run: Run) -> None:
    """A rate far too large makes each step worse than the one before: the first is kept, though all are taken."""
    config = PeriodicConfig(steps=2, iterations=6, learning_rate=0.5, validate_every=1, batch=8, periods=1)
    flow, x = contraction(0.7), ValidationSet(normal(50, 2))
    log = fit(run, flow, config, batch, in_periods(config), x)
    values = [value for _, value in log.validations]
    assert len(values) == 6
    assert min(values) < values[-1]
    kept = costs_of(flow, x.points, config.validation_steps).weighted(config).item()
    assert kept == pytest.approx(min(values), rel=1e-9)


def test_the_published_schedules() -> None:
    checkerboard = in_periods(TOY.configure("checkerboard_published", "paper"))
    rates = [checkerboard.lr_at(i) for i in (0, 999, 1000, 2000, 19_000, 19_999)]
    assert rates == pytest.approx([0.05, 0.05, 0.025, 0.0125, 0.05 * 0.5**19, 0.05 * 0.5**19])
    digits = in_periods(MNIST.configure("standardised", "paper"))
    rates = [digits.lr_at(i) for i in (0, 4999, 5000, 49_999)]
    assert rates == pytest.approx([0.008, 0.008, 0.008 / math.sqrt(10), 0.008 / 10**4.5])
    assert (checkerboard.validate_every, digits.validate_every) == (50, 20)


def test_the_published_precision_and_the_fast_one() -> None:
    assert precision(PeriodicConfig()) == torch.float64
    assert precision(PeriodicConfig(double=False)) == torch.float32


def test_a_rate_on_a_table_falls_on_plateaus_and_decays_weights_as_told() -> None:
    config = TABULAR.configure("bsds300_ot_flow", "paper")
    found = tabular.settings(dataclasses.replace(config, weight_decay=0.25))
    rates = [found.lr_at(0, dropped=n) for n in (0, 1, 3)]
    assert rates == pytest.approx([1e-3, 1e-3 / 3.3, 1e-3 / 3.3**3])
    assert (found.plateau, found.drops, found.validate_every, found.iterations) == (15, 3, 100, 120_000)
    assert found.weight_decay == 0.25
