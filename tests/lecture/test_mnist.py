"""The experiment `lecture.mnist`: its data, its training, what it records."""

from pathlib import Path

import pytest
import torch
from support import loaded, perform, untimed

from bench.execution.run import Run
from bench.identity import identify
from bench.metrics.catalogue import split_key
from replications.flows.ode.solve import Solver
from replications.lecture.experiments import CLASSIFIER
from replications.lecture.experiments.mnist.classifier import build
from replications.lecture.experiments.mnist.measured import Epochs, classified_by
from replications.lecture.experiments.mnist.run import (
    EVALUATION,
    fit,
    images_of,
    record_epochs,
    record_growth,
    record_test,
)
from replications.tasks.classification import Accuracy
from replications.tasks.splits import TestSet, TrainSet

SMOKE = CLASSIFIER.configure("digits", "smoke")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return perform(CLASSIFIER, "digits", tmp_path_factory.mktemp("digits"))


def new_run(folder: Path) -> Run:
    return Run(identify(CLASSIFIER, "digits", "smoke", 0), folder)


def test_digits_are_normalised_and_those_of_the_test_are_others(job: Run) -> None:
    train, test = images_of(job, SMOKE)
    assert train.points.shape == (1442, 64)
    assert isinstance(test, TestSet)
    assert len(test) == 355
    assert float(train.points.mean()) == pytest.approx(0, abs=0.01)
    assert float(train.points.std()) == pytest.approx(1, abs=0.01)
    rows = [{tuple(row) for row in part.points.tolist()} for part in (train, test)]
    assert not rows[0] & rows[1]


def test_what_a_training_counts_is_a_share_of_the_training_images(tmp_path: Path) -> None:
    """At rate 0 every epoch classifies as the network does as it starts: nine training images, four of them right."""
    config = CLASSIFIER.configure(
        "digits", "smoke", {"learning_rate": 0.0, "epochs": 2, "max_iterations": 0, "batch": 4}
    )
    model = build(8, 1e-3, 1e-4, "checkpoint", 1.0)
    x = torch.randn(9, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        said = model(x).argmax(1)
    labels = torch.where(torch.arange(9) < 4, said, (said + 1) % 10)
    test = TestSet(x[:5], torch.cat((said[:2], (said[2:5] + 1) % 10)))
    run = new_run(tmp_path)
    fit(run, config, model, TrainSet(x, labels), test)
    assert run.curves["train_accuracy"].y == pytest.approx((400 / 9, 400 / 9))
    assert run.curves["train_accuracy"].x == (1, 2)
    assert run.curves["test_accuracy"].y == (40.0, 40.0)
    with torch.no_grad():
        exact = torch.nn.functional.cross_entropy(model(x), labels).item()
    assert run.curves["train_loss"].y == pytest.approx((exact, exact), rel=1e-4)


def test_no_training_accuracy_where_the_last_epoch_is_not_whole(tmp_path: Path, job: Run) -> None:
    assert "train_accuracy" not in job.curves


# -- recording --------------------------------------------------------------------------------------------------


def test_epochs_growth_and_tests_get_their_names(tmp_path: Path) -> None:
    run, solver = new_run(tmp_path), Solver("rk4", steps=3)
    record_epochs(run, Epochs([2.5, 1.5], [15.0, 40.0], [2.0, 6.0], [1.0, 2.0], [60.0, 75.0]), "p")
    record_growth(run, "adjoint", (5, 10, 20), [100, 120, 160], "q")
    record_test(run, Accuracy(30, 40, 12.0), solver, "1e-5")
    assert {key: m.value for key, m in run.metrics.items()} == {
        "train_loss": 1.5,
        "memory_slope[adjoint]": pytest.approx(4.0),
        "test_accuracy[1e-5]": 75.0,
        "test_error[1e-5]": 25.0,
        "nfe_test[1e-5]": 12.0,
    }
    assert run.metrics["train_loss"].protocol == "mean over the images of the last epoch/p"
    assert run.metrics["nfe_test[1e-5]"].protocol == f"{solver.protocol}/batch-1000"
    curves = {key: (c.x, c.y) for key, c in run.curves.items()}
    assert curves == {
        "train_loss": ((1, 2), (2.5, 1.5)),
        "nfe_forward": ((1, 2), (15, 40)),
        "nfe_backward": ((1, 2), (2, 6)),
        "test_accuracy": ((1, 2), (60, 75)),
        "memory[adjoint]": ((5, 10, 20), (100, 120, 160)),
    }


def test_a_run_records_the_accuracy_of_its_model_on_test_images(job: Run) -> None:
    assert {split_key(key)[0] for key in job.metrics} == set(CLASSIFIER.metrics)
    _, test = images_of(job, SMOKE)
    model = loaded(job)
    for key, solver in (("", Solver("dopri5", rtol=1e-3, atol=1e-4)), ("[1e-5]", EVALUATION)):
        found = classified_by(model, test, solver)
        assert job.metrics[f"test_accuracy{key}"].value == pytest.approx(found.percent, abs=0.3)
        assert job.metrics[f"nfe_test{key}"].value == found.nfe
        assert job.metrics[f"test_accuracy{key}"].n == 355
    assert job.curves["test_accuracy"].y[-1] == job.metrics["test_accuracy"].value
    assert job.metrics["nfe_test"].value < job.metrics["nfe_test[1e-5]"].value


def test_same_seed_same_result(job: Run, tmp_path: Path) -> None:
    assert untimed(perform(CLASSIFIER, "digits", tmp_path)) == untimed(job)
    other = perform(CLASSIFIER, "digits", tmp_path, seed=1)
    assert other.metrics["train_loss"] != job.metrics["train_loss"]
