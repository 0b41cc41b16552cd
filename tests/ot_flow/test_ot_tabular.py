"""OT-Flow, FFJORD and RNODE on small tables: what each number is of, and that all three are measured alike."""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import loaded, perform, sizes_seen, untimed

from bench.errors import UserError
from bench.execution.plan import plan
from bench.execution.run import Run
from bench.identity import Identity
from bench.record import read_all
from replications.ffjord.networks import TABLES
from replications.flows.density import evaluate as measured
from replications.ot_flow.experiments.tabular import run as tabular
from replications.ot_flow.experiments.tabular.declaration import HELD_OUT, METHODS, TABULAR
from replications.ot_flow.measured import costs_of
from replications.tasks.method import in_test
from replications.tasks.tables import evaluation as tables
from replications.tasks.tables.declaration import DIMENSIONS

OWN = ("nll", "loglik_time", "nfe_test", "mmd", "inversion_error")
SMALL: dict[str, Any] = {"batch": 32, "iterations": 4, "validate_every": 2, "test_points": 45}


def synthetic(name: str) -> Any:
    """Rows of three numbers, each part about a centre of its own."""
    rng = np.random.default_rng(0)
    parts = {
        part: rng.normal(at, 1.0, (60, 3))
        for part, at in (("train", 0.0), ("validation", 0.1), ("test", 0.2))
    }
    return SimpleNamespace(**parts)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """One small run of each method."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables.tabular, "load", synthetic)
        return {
            method: perform(TABULAR, f"{HELD_OUT}_{method}", tmp_path_factory.mktemp(method), **SMALL)
            for method in METHODS
        }


def rows() -> torch.Tensor:
    return torch.tensor(synthetic("").test[:45], dtype=torch.float32)


def test_the_methods_are_measured_alike(jobs: dict[str, Run]) -> None:
    shared = {"nll", "inversion_error", "nfe_test", "train_time", "iteration_time", "parameters"}
    for key in shared | {f"{name}[own solver]" for name in OWN}:
        assert len({run.metrics[key].protocol for run in jobs.values()}) == 1, key
        assert len({run.metrics[key].n for run in jobs.values()}) == 1, key
    assert (
        jobs["ffjord"]
        .metrics["train_loss"]
        .protocol.startswith("4 iterations of 32/each method's own solver")
    )
    assert jobs["ot_flow"].metrics["nll[own solver]"].n == 45


def test_ot_flow_is_measured_on_test_rows_by_its_own_steps(jobs: dict[str, Run]) -> None:
    run, flow = jobs["ot_flow"], loaded(jobs["ot_flow"])
    terms = costs_of(flow, rows(), 18)
    assert run.metrics["nll[own solver]"].value == pytest.approx(terms.C.mean().item(), rel=1e-5)
    assert run.metrics["transport_cost[own solver]"].value == pytest.approx(terms.L.mean().item(), rel=1e-5)
    assert run.metrics["nfe_test[own solver]"].value == 4 * 18
    assert run.metrics["nfe_forward"].value == 4 * 6
    d, m = 3, 64  # K_0, b_0; K_1, b_1; w; A; b; c
    size = m * (d + 1) + m + m * m + m + m + (d + 1) ** 2 + d + 1 + 1
    assert run.metrics["parameters"].value == size


@pytest.mark.parametrize("method", ["ffjord", "rnode"])
def test_the_own_solver_of_the_others_is_the_one_all_are_tested_with(
    jobs: dict[str, Run], method: str
) -> None:
    run, flow = jobs[method], loaded(jobs[method])
    config = TABULAR.configure(f"{HELD_OUT}_{method}", "smoke", SMALL)
    found = measured.likelihood(flow, rows(), in_test(config))
    assert run.metrics["nll"].value == pytest.approx(found.nll, rel=1e-5)
    for name in ("nll", "nfe_test", "loglik_time"):
        assert run.metrics[f"{name}[own solver]"].value == run.metrics[name].value, name
    assert run.metrics["nll[own solver]"].se == run.metrics["nll"].se
    back = measured.inversion_error(flow, rows(), in_test(config))
    assert run.metrics["inversion_error[own solver]"].value == pytest.approx(back.mean().item(), rel=1e-2)
    assert "transport_cost[own solver]" not in run.metrics
    if method == "rnode":
        assert run.metrics["nfe_forward"].value == 4 * 4


def test_generated_rows_are_as_many_as_asked_for(jobs: dict[str, Run]) -> None:
    assert {run.metrics["mmd[own solver]"].n for run in jobs.values()} == {40}


def test_weights_are_clamped_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kept weights are those of a validation, which comes between a step (by at most the rate) and the clamp."""
    monkeypatch.setattr(tables.tabular, "load", synthetic)
    run = perform(TABULAR, f"{HELD_OUT}_ot_flow", tmp_path, clamp=0.01, learning_rate=0.02, **SMALL)
    largest = max(p.abs().max().item() for p in loaded(run).parameters())
    assert 0.01 < largest <= 0.01 + 0.021


def test_a_seed_repeats_and_another_does_not(
    jobs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables.tabular, "load", synthetic)
    again, other = (
        untimed(perform(TABULAR, f"{HELD_OUT}_ot_flow", tmp_path / str(seed), seed, **SMALL))
        for seed in (0, 1)
    )
    assert again == untimed(jobs["ot_flow"])
    assert other["nll"] != again["nll"]


OT_FLOW = {"power": 17_721, "gas": 126_791, "hepmass": 72_179, "miniboone": 78_053, "bsds300": 297_153}
"""Parameters of OT-Flow's published networks."""


def concatsquash(d: int, factors: tuple[int, ...], blocks: int) -> int:
    """Parameters of blocks of layers (W x + b) * sigmoid(a t + c) + e t, each block with its end time."""
    widths = (d, *(factor * d for factor in factors), d)
    layers = sum(a * b + 4 * b for a, b in itertools.pairwise(widths))
    return blocks * (layers + 1)


def test_the_sizes_of_the_published_networks_do_not_depend_on_what_is_trained(tmp_path: Path) -> None:
    sizes = tabular.published_sizes()
    assert {name: of["ot_flow"] for name, of in sizes.items()} == OT_FLOW
    for name, of in sizes.items():
        network = TABLES[name]
        assert of["ffjord"] == concatsquash(DIMENSIONS[name], network["factors"], network["blocks"]), name
    run = Run(Identity("test.sizes", "only", "smoke", 0, 1, {}, {}), tmp_path)
    tabular.record_sizes(run, {"a": {"ot_flow": 10, "ffjord": 40}, "b": {"ot_flow": 30, "ffjord": 40}})
    found = {key: m.value for key, m in run.metrics.items()}
    assert found == {
        "parameters[a: ot_flow]": 10,
        "parameters[a: ffjord]": 40,
        "parameters[b: ot_flow]": 30,
        "parameters[b: ffjord]": 40,
        "ratio[parameters: ot_flow/ffjord]": 0.5,
    }


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
    assert done.returncode == 3
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("skipped:")]
    assert "maf/data.tar.gz could not be downloaded; put it by hand" in line  # which holds MINIBOONE's rows
    ended = list(read_all([tmp_path / "out"]))
    assert {(r.identity.variant, r.status) for r in ended} == {("miniboone_ot_flow", "error")}
    assert not any(r.metrics for r in ended)


@pytest.mark.parametrize("method", ["ffjord", "ot_flow"])
def test_a_short_last_batch_weighs_as_its_rows(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables.tabular, "load", synthetic)
    seen = sizes_seen(monkeypatch)
    perform(TABULAR, f"{HELD_OUT}_{method}", tmp_path, **SMALL)
    assert seen == [[32, 28]]
