from pathlib import Path

import pytest
import torch

import bench
from bench.execution.run import Run
from bench.identity import identify
from bench.record import Record, write
from replications.flows.ode.solve import Solver
from replications.lecture.experiments import CLASSIFIER
from replications.lecture.experiments.mnist.run import build, run, split, step_memory, with_solver

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
    model, batch = build(8, **ARGUMENTS), (torch.ones(32, 8), torch.zeros(32, dtype=torch.long))

    def growth(gradient: str) -> float:
        few, many = (
            step_memory(with_solver(model, Solver("euler", steps=n), gradient), batch, "cpu") for n in (4, 24)
        )
        return (many - few) / 20

    state = 32 * 64 * 4
    assert growth("backprop") > state
    assert growth("adjoint") < 0.02 * state


def test_digits_are_normalised() -> None:
    x, y = split("digits", "train", "cpu")
    assert x.shape == (1442, 64)
    assert y.shape == (1442,)
    assert float(x.mean()) == pytest.approx(0, abs=0.01)


def test_run_reports_what_it_declares(job: Run) -> None:
    assert {key.split("[")[0] for key in job.metrics} == set(CLASSIFIER.metrics)
    assert {"train_loss", "test_accuracy", "nfe_forward"} <= set(job.curves)
    accuracy, error = (job.metrics[key].value for key in ("test_accuracy", "test_error"))
    assert accuracy + error == pytest.approx(100)


def test_same_seed_same_result(job: Run, tmp_path: Path) -> None:
    timed = ("iteration_time", "train_time")
    again, other = smoke_run(tmp_path), smoke_run(tmp_path, seed=1)
    for key in (k for k in job.metrics if k not in timed):
        assert again.metrics[key] == job.metrics[key]
    assert other.metrics["train_loss"] != job.metrics["train_loss"]


def test_trained_model_loads(job: Run) -> None:
    path = write(job.folder, Record(job.identity, "done", metrics=job.metrics))
    model = bench.load(path)
    x, y = split("digits", "test", "cpu")
    percent = 100 * (model(x).argmax(1) == y).double().mean()
    assert float(percent) == pytest.approx(job.metrics["test_accuracy"].value, abs=0.3)
