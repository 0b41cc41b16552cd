"""Small runs of OT-Flow on points and tables, beside FFJORD and RNODE."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UserError
from bench.execution.plan import plan
from bench.execution.run import Run
from bench.experiment import Experiment
from bench.identity import identify
from bench.metrics.catalogue import split_key
from bench.models import load_model
from bench.record import Record, write
from bench.registry import resolve
from replications.ot_flow.experiments.mnist.declaration import MNIST
from replications.ot_flow.experiments.published_weights.declaration import WEIGHTS
from replications.ot_flow.experiments.tabular import run as tabular
from replications.ot_flow.experiments.tabular.declaration import HELD_OUT, METHODS, TABULAR
from replications.ot_flow.experiments.toy import figures
from replications.ot_flow.experiments.toy import run as toy
from replications.ot_flow.experiments.toy.declaration import TOY

needs_rows = pytest.mark.skipif(
    "CNF_BENCH_DATA" not in os.environ, reason="CNF_BENCH_DATA names no folder with MINIBOONE's rows"
)
OWN = ("nll[own solver]", "loglik_time[own solver]", "nfe_test[own solver]", "mmd[own solver]")


def perform(experiment: Experiment, variant: str, folder: Path, seed: int = 0, **overrides: Any) -> Run:
    run = Run(identify(experiment, variant, "smoke", seed, overrides), folder)
    resolve(experiment.run)(run, experiment.configure(variant, "smoke", overrides))
    assert {split_key(key)[0] for key in run.metrics} <= set(experiment.metrics)
    return run


def untimed(run: Run) -> dict[str, float]:
    return {key: m.value for key, m in run.metrics.items() if "time" not in key}


def test_a_toy_repeats_for_a_seed_changes_with_it_and_is_loaded_again(tmp_path: Path) -> None:
    run = perform(TOY, "moons", tmp_path)
    assert untimed(run) == untimed(perform(TOY, "moons", tmp_path / "again"))
    assert untimed(run) != untimed(perform(TOY, "moons", tmp_path / "other", seed=1))
    terms = {"transport_cost", "nll", "hjb_residual", "straightness"}
    assert all(f"{term}[own solver]" in run.metrics for term in terms)
    model = load_model(write(tmp_path, Record(run.identity, "done")))
    assert torch.isfinite(model.log_prob(torch.zeros(1, 2))).all()
    assert model.sample(3, torch.Generator().manual_seed(0)).shape == (3, 2)


def test_the_paths_are_kept_and_drawn(tmp_path: Path) -> None:
    run = perform(TOY, "8gaussians", tmp_path)
    paths = run.curves["paths"]
    assert len(paths.x) == len(paths.y) == toy.PATHS * 9
    record = Record(run.identity, "done", metrics=run.metrics, curves=run.curves)
    (ax,) = figures.paths([record]).axes
    assert len(ax.lines) == 3 * toy.PATHS
    assert figures.paths([]) is None


def test_the_published_schedules() -> None:
    checkerboard = toy.in_periods(TOY.configure("checkerboard_published", "paper"))
    rates = [checkerboard.lr_at(i) for i in (0, 999, 1000, 2000, 19_000, 19_999)]
    assert rates == pytest.approx([0.05, 0.05, 0.025, 0.0125, 0.05 * 0.5**19, 0.05 * 0.5**19])
    bsds300 = tabular.settings(TABULAR.configure("bsds300_ot_flow", "paper"))
    assert [bsds300.lr_at(0, dropped=n) for n in (0, 1, 3)] == pytest.approx(
        [1e-3, 1e-3 / 3.3, 1e-3 / 3.3**3]
    )
    assert (bsds300.plateau, bsds300.drops, bsds300.validate_every) == (15, 3, 100)


@needs_rows
def test_the_methods_of_a_table_are_measured_alike(tmp_path: Path) -> None:
    runs = {method: perform(TABULAR, f"{HELD_OUT}_{method}", tmp_path) for method in METHODS}
    shared = {"nll", "inversion_error", "nfe_test", "train_time", "iteration_time", "parameters", *OWN}
    for key in shared:
        assert len({run.metrics[key].protocol for run in runs.values()}) == 1, key
    ours = runs["ot_flow"].metrics
    assert ours["parameters"].value == 64 * 64 + 64 * 44 + 3 * 64 + 10 * 44 + 44 + 1
    assert ours["nfe_forward"].value == 4 * 6
    assert ours["nfe_test[own solver]"].value == 4 * 18
    assert ours["parameters[miniboone: ot_flow]"].value == 78_053
    assert ours["parameters[miniboone: ffjord]"].value == 820_613
    assert ours["ratio[parameters: ot_flow/ffjord]"].value == pytest.approx(0.227, abs=5e-4)
    assert runs["rnode"].metrics["nfe_forward"].value == 4 * 4
    for other in ("ffjord", "rnode"):  # whose own solver is the one all are tested with
        assert runs[other].metrics["nll"].value == runs[other].metrics["nll[own solver]"].value


@needs_rows
def test_weights_are_clamped_in_training(tmp_path: Path) -> None:
    """The kept weights are those of a validation, which comes between a step (by at most the rate) and the clamp."""
    run = perform(TABULAR, f"{HELD_OUT}_ot_flow", tmp_path, clamp=0.01, learning_rate=0.02)
    model = load_model(write(tmp_path, Record(run.identity, "done")))
    largest = max(p.abs().max().item() for p in model.parameters())
    assert 0.01 < largest <= 0.01 + 0.021


@pytest.mark.parametrize(
    ("experiment", "variant", "overrides"),
    [
        (TOY, "moons", {"solver": "dopri5"}),  # each would be looked at by nobody, or only after the training
        (TOY, "moons", {"T": 2.0}),
        (TOY, "moons", {"kinetic": 0.1}),
        (TOY, "moons", {"path_times": 1}),
        (TOY, "moons", {"redrawn": 0}),
        (TOY, "moons", {"drop": 0.0}),
        (TABULAR, f"{HELD_OUT}_ot_flow", {"divergence": "rademacher"}),
        (TABULAR, f"{HELD_OUT}_ot_flow", {"drop": 0.0}),
        (TABULAR, f"{HELD_OUT}_ffjord", {"checked": 0}),
        (TABULAR, f"{HELD_OUT}_ffjord", {"method": "realnvp"}),
        (MNIST, "standardised", {"test_images": -1}),
        (WEIGHTS, "swissroll", {"weights": "moons"}),
        (WEIGHTS, "swissroll", {"weights_data": "mnist"}),
        (WEIGHTS, "miniboone_test", {"rows": -1}),
    ],
)
def test_a_bad_setting_is_refused_before_anything_runs(
    experiment: Experiment, variant: str, overrides: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match=f"config key '{next(iter(overrides))}' (must|is)"):
        experiment.configure(variant, "smoke", overrides)


@needs_rows
def test_weights_of_other_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="for rows of 43 numbers, those of moons have 2"):
        perform(WEIGHTS, "miniboone_test", tmp_path, data="moons")


def test_rows_that_are_not_the_published_ones_stay_below_tier_paper() -> None:
    heldout = {f"{HELD_OUT}_{method}" for method in METHODS}
    assert {job.identity.variant for job in plan(["ot_flow.tabular"], "cpu", [0])} == heldout
    assert not heldout & {job.identity.variant for job in plan(["ot_flow.tabular"], "paper", [0])}
    with pytest.raises(UserError, match="offered at tier paper"):
        plan([f"ot_flow.tabular/{HELD_OUT}_ot_flow"], "paper", [0])


def test_the_paper_tier_refuses_to_start_without_the_training_rows(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"  # a proxy that is not there: no network
    empty = {"CNF_BENCH_DATA": str(tmp_path), "CNF_BENCH_CACHE": str(tmp_path / "cache")}
    command = ["run", "ot_flow.tabular/miniboone_ot_flow", "--tier", "paper", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *command],
        capture_output=True, text=True, check=False,
        env=os.environ | empty | dict.fromkeys(("HTTPS_PROXY", "https_proxy"), nowhere),
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("cnf-bench:")]
    assert done.stderr.endswith(f"{line}\n")
    assert "maf/data.tar.gz could not be downloaded; put it by hand" in line  # which holds MINIBOONE's rows
    assert not list(tmp_path.glob("out/records/*"))
