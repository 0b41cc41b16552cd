from pathlib import Path

import pytest
import torch

import bench
from bench.execution.run import Run
from bench.identity import identify
from bench.record import Record, write
from replications.flows.ode.solve import Solver
from replications.flows.training.log import Log
from replications.lecture.experiments import CLASSIFIER
from replications.lecture.experiments.mnist.run import (
    build,
    classified_by,
    images_of,
    peak_of_step,
    record_by_epoch,
    run,
    weighted_mean,
    with_solver,
)
from replications.tasks.splits import TestSet, TrainSet

ARGUMENTS = {"rtol": 1e-3, "atol": 1e-4, "gradient": "adjoint", "integration_time": 1.0}


def smoke_run(folder: Path, seed: int = 0, variant: str = "digits") -> Run:
    job = Run(identify(CLASSIFIER, variant, "smoke", seed), folder)
    run(job, CLASSIFIER.configure(variant, "smoke"))
    return job


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return smoke_run(tmp_path_factory.mktemp("digits"))


def test_parameters_are_those_of_the_lecture() -> None:
    """784-128-64 encoder, 64-64-64 field with a time layer 1-64, read-out 64-10, biases everywhere."""
    count = sum(p.numel() for p in build(784, **ARGUMENTS).parameters())
    assert count == 785 * 128 + 129 * 64 + 2 * 65 * 64 + 2 * 64 + 65 * 10


def test_field_adds_its_time_layer_to_its_network() -> None:
    field = build(8, **ARGUMENTS).block.field
    h = torch.zeros(1, 64)
    slopes = [field(torch.tensor(t), h) for t in (0.0, 1.0, 2.0)]
    torch.testing.assert_close(slopes[2] - slopes[1], slopes[1] - slopes[0])
    assert (slopes[1] - slopes[0]).abs().max() > 0.1


def test_output_is_encoder_flow_and_read_out() -> None:
    model = build(8, **ARGUMENTS)
    x = torch.rand(3, 8, generator=torch.Generator().manual_seed(0))
    tight = with_solver(model, Solver("dopri5", rtol=1e-6, atol=1e-6), "backprop")
    fixed = with_solver(model, Solver("rk4", steps=20), "backprop")
    torch.testing.assert_close(tight(x), fixed(x), atol=1e-4, rtol=0)
    no_flow = model.read(model.encode(x))
    assert (tight(x) - no_flow).abs().max() > 1e-3


def test_seed_draws_the_parameters() -> None:
    first, again, other = (build(8, **ARGUMENTS, seed=seed).read.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_adjoint_memory_does_not_grow_with_the_steps() -> None:
    model, batch = build(8, **ARGUMENTS), TrainSet(torch.ones(32, 8), torch.zeros(32, dtype=torch.long))

    def growth(gradient: str) -> float:
        few, many = (
            peak_of_step(with_solver(model, Solver("euler", steps=n), gradient), batch, "cpu")
            for n in (4, 24)
        )
        return (many - few) / 20

    state = 32 * 64 * 4
    assert growth("backprop") > state
    assert growth("adjoint") < 0.02 * state


def test_digits_are_normalised_and_those_of_the_test_are_others(job: Run) -> None:
    train, test = images_of(job, CLASSIFIER.configure("digits", "smoke"))
    assert train.points.shape == (1442, 64)
    assert isinstance(test, TestSet)
    assert len(test) == 355
    assert float(train.points.mean()) == pytest.approx(0, abs=0.01)
    assert float(train.points.std()) == pytest.approx(1, abs=0.01)
    rows = [{tuple(row) for row in part.points.tolist()} for part in (train, test)]
    assert not rows[0] & rows[1]


def test_run_reports_what_it_declares(job: Run) -> None:
    assert {key.split("[")[0] for key in job.metrics} == set(CLASSIFIER.metrics)
    accuracy, error = (job.metrics[key].value for key in ("test_accuracy", "test_error"))
    assert accuracy + error == pytest.approx(100)
    assert job.curves["test_accuracy"].y == (accuracy,)
    assert (
        job.metrics["nfe_test"].value < job.metrics["nfe_test[1e-5]"].value
    )  # a smaller tolerance costs more


def test_a_mean_over_batches_is_one_over_images() -> None:
    assert weighted_mean([1.0, 1.0, 4.0], [8, 8, 2]) == pytest.approx((8 + 8 + 8) / 18)
    assert weighted_mean([1.0, 3.0], [8, 8, 2]) == pytest.approx(2.0)  # ended within an epoch


def test_epochs_are_summed_up_apart(tmp_path: Path) -> None:
    made = Run(identify(CLASSIFIER, "digits", "smoke", 0), tmp_path)
    log = Log(
        losses=[2.0, 4.0, 1.0, 3.0],
        nfe_forward=[10, 20, 30, 50],
        nfe_backward=[1, 3, 5, 7],
        validations=[(2, 40.0), (4, 25.0)],
    )
    record_by_epoch(made, log, "p", 2, [6, 2])
    assert made.curves["train_loss"].y == (2.5, 1.5)
    assert made.metrics["train_loss"].value == 1.5
    assert (made.curves["nfe_forward"].y, made.curves["nfe_backward"].y) == ((15.0, 40.0), (2.0, 6.0))
    assert (made.curves["test_accuracy"].x, made.curves["test_accuracy"].y) == ((1.0, 2.0), (60.0, 75.0))


def test_a_classifier_is_tested_by_the_solver_asked_for() -> None:
    model = build(8, **ARGUMENTS)
    test = TestSet(
        torch.rand(1500, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(1500, dtype=torch.long)
    )
    found = classified_by(model, test, Solver("rk4", steps=3))
    assert found.nfe == 12  # a forward pass, the mean over two batches
    with torch.no_grad():
        logits = with_solver(model, Solver("rk4", steps=3), "backprop")(test.points)
    assert found.right == int((logits.argmax(1) == 0).sum())
    assert model.block.solver.method == "dopri5"


def test_same_seed_same_result(job: Run, tmp_path: Path) -> None:
    timed = ("iteration_time", "train_time", "evaluation_time")
    again, other = smoke_run(tmp_path), smoke_run(tmp_path, seed=1)
    for key in (k for k in job.metrics if k not in timed):
        assert again.metrics[key] == job.metrics[key]
    assert other.metrics["train_loss"] != job.metrics["train_loss"]


def test_trained_model_loads(job: Run) -> None:
    path = write(job.folder, Record(job.identity, "done", metrics=job.metrics))
    model = bench.load(path)
    _, test = images_of(job, CLASSIFIER.configure("digits", "smoke"))
    percent = 100 * (model(test.points).argmax(1) == test.labels).double().mean()
    assert float(percent) == pytest.approx(job.metrics["test_accuracy"].value, abs=0.3)
