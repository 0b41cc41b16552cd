import dataclasses
import os
from pathlib import Path

import pytest
import torch

from bench.execution.run import Run
from bench.experiment import Experiment
from bench.identity import identify
from bench.metrics.catalogue import split_key
from bench.models import load_model
from bench.record import Record, write
from bench.registry import resolve
from replications.neural_ode.experiments.mnist.declaration import EPOCH, MNIST
from replications.neural_ode.experiments.mnist.figures import training
from replications.neural_ode.experiments.mnist.run import settings
from replications.neural_ode.experiments.scaling.declaration import SCALING, ScalingConfig
from replications.neural_ode.experiments.scaling.figures import cost_of_steps, tolerance

needs_mnist = pytest.mark.skipif(
    "CNF_BENCH_DATA" not in os.environ, reason="CNF_BENCH_DATA names no folder with MNIST"
)


def perform(experiment: Experiment, variant: str, folder: Path, seed: int = 0) -> Run:
    run = Run(identify(experiment, variant, "smoke", seed), folder)
    resolve(experiment.run)(run, experiment.configure(variant, "smoke"))
    return run


def untimed(run: Run) -> dict[str, float]:
    return {key: m.value for key, m in run.metrics.items() if "time" not in key}


def assert_declared(run: Run, experiment: Experiment) -> None:
    assert {split_key(key)[0] for key in run.metrics} <= set(experiment.metrics)
    assert all(torch.tensor(m.value).isfinite() for m in run.metrics.values())


def test_paper_tier_is_the_published_schedule() -> None:
    published = settings(MNIST.configure("odenet", "paper"))
    assert published.iterations == 160 * EPOCH
    assert published.milestones == (60 * EPOCH, 100 * EPOCH, 140 * EPOCH)
    rates = [published.lr_at(epoch * EPOCH) for epoch in (0, 59, 60, 100, 140, 159)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.001, 1e-4, 1e-4])


@needs_mnist
def test_mnist_runs_and_its_ode_networks_start_alike(tmp_path: Path) -> None:
    runs = {variant: perform(MNIST, variant, tmp_path) for variant in MNIST.variants}
    for run in runs.values():
        assert_declared(run, MNIST)
    counter = {variant for variant, run in runs.items() if "nfe_forward" in run.metrics}
    assert counter == {"rknet", "odenet", "odenet_checkpoint"}
    losses = {variant: run.curves["loss"].y[0] for variant, run in runs.items()}
    assert losses["odenet"] == pytest.approx(losses["rknet"], rel=1e-5)
    assert losses["odenet_checkpoint"] == pytest.approx(losses["rknet"], rel=1e-5)
    gradient_errors = {v: runs[v].metrics["gradient_error"].value for v in counter}
    assert gradient_errors["rknet"] == 0
    assert gradient_errors["odenet_checkpoint"] < 1e-4 < gradient_errors["odenet"]
    assert load_model(write(tmp_path, Record(runs["odenet"].identity, "done"))).training is False


@needs_mnist
def test_mnist_repeats_for_a_seed_and_changes_with_it(tmp_path: Path) -> None:
    first, again = (perform(MNIST, "mlp", tmp_path / name) for name in "ab")
    assert untimed(first) == untimed(again)
    other = perform(MNIST, "mlp", tmp_path, seed=1)
    assert first.curves["loss"].y != other.curves["loss"].y


@pytest.mark.parametrize("variant", SCALING.variants)
def test_scaling_runs_and_repeats(variant: str, tmp_path: Path) -> None:
    run = perform(SCALING, variant, tmp_path)
    assert_declared(run, SCALING)
    assert untimed(run) == untimed(perform(SCALING, variant, tmp_path))


CONFIG = ScalingConfig(
    batch=64,
    dim=16,
    hidden=(32,),
    steps=(4, 8, 16),
    tolerances=(1e-3, 1e-5, 1e-7),
    repeats=1,
    reference_tolerance=1e-10,
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """One run of each variant of `neural_ode.scaling`."""
    done = {}
    for variant, fields in SCALING.variants.items():
        done[variant] = Run(identify(SCALING, variant, "smoke", 0), tmp_path_factory.mktemp(variant))
        resolve(SCALING.run)(done[variant], dataclasses.replace(CONFIG, **fields))
    return done


def test_memory_against_depth(runs: dict[str, Run]) -> None:
    slopes = {v: run.metrics["memory_slope"].value for v, run in runs.items()}
    exponents = {v: run.metrics["scaling_exponent[memory/depth]"].value for v, run in runs.items()}
    state = CONFIG.batch * CONFIG.dim * 4
    assert slopes["backprop"] > 4 * state
    assert slopes["checkpoint"] <= state + 0.02 * slopes["backprop"]
    assert slopes["adjoint"] <= state + 0.02 * slopes["backprop"]
    assert exponents["backprop"] == pytest.approx(1, abs=0.15)
    # A layer keeps what its gradient needs, and its parameters' gradient.
    assert slopes["resnet"] > 2 * state
    assert exponents["resnet"] == pytest.approx(1, abs=0.25)
    assert exponents["adjoint"] == pytest.approx(0, abs=0.05)


def test_error_falls_with_the_tolerance_and_gradients_agree(runs: dict[str, Run]) -> None:
    run = runs["adjoint"]
    for key in ("error/tolerance", "gradient_error/tolerance"):
        errors = run.curves[key].y
        assert errors[0] > errors[1] > errors[2]
        assert errors[2] < 1e-5
    forward, backward = (run.curves[f"nfe_{way}/tolerance"].y for way in ("forward", "backward"))
    assert forward[0] < forward[-1]
    assert all(count > 0 for count in backward)
    assert set(runs["backprop"].curves["nfe_backward/tolerance"].y) == {0}


def test_figures_draw_what_there_is_and_nothing_else(runs: dict[str, Run]) -> None:
    records = [Record(run.identity, "done", metrics=run.metrics, curves=run.curves) for run in runs.values()]
    cost, ladder = cost_of_steps(records), tolerance(records)
    assert [len(ax.lines) for ax in cost.axes] == [4, 4]
    assert [len(ax.lines) for ax in ladder.axes] == [1, 1, 3]
    assert training(records) is None
    assert cost_of_steps([]) is None
    assert tolerance([]) is None
