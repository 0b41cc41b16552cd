"""Trainings until a goal: when it counts as reached, what a validation may touch, and what the runs record."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from replications.flow_matching.experiments.convergence import run as convergence
from replications.flow_matching.experiments.convergence.declaration import (
    CLAIMS,
    FM_VS_CNF,
    ConvergenceConfig,
)
from replications.flow_matching.experiments.convergence.densities import DENSITIES, log_density

from bench.data import toy2d
from bench.errors import UserError
from bench.execution.run import Run
from bench.experiment import Experiment
from bench.identity import identify
from bench.metrics.catalogue import split_key
from bench.models import load_model
from bench.record import Record, write
from bench.registry import resolve
from replications.flow_matching import model
from replications.flows.training.log import Log

ARMS = ("cnf", "fm", "ot_cfm")


def blank(
    folder: Path, variant: str, experiment: Experiment = FM_VS_CNF, seed: int = 0, **overrides: Any
) -> Run:
    return Run(identify(experiment, variant, "smoke", seed, overrides), folder)


def configured(variant: str, experiment: Experiment = FM_VS_CNF, **overrides: Any) -> ConvergenceConfig:
    config: ConvergenceConfig = experiment.configure(variant, "smoke", overrides)
    return config


def perform(folder: Path, variant: str, experiment: Experiment = FM_VS_CNF, **overrides: Any) -> Run:
    run = blank(folder, variant, experiment, **overrides)
    resolve(experiment.run)(run, configured(variant, experiment, **overrides))
    return run


def lasting(variant: str, iterations: int) -> dict[str, Any]:
    """Return the settings by which a training of Experiment 4 has so many iterations."""
    return {"share": iterations / FM_VS_CNF.variants[variant]["iterations"], "cnf_share": 1.0}


def untrained(run: Run, config: ConvergenceConfig) -> Any:
    return model.build(2, config.hidden, generator=run.torch_generator("field"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Run]:
    """One small run of each arm of both experiments."""
    folder = tmp_path_factory.mktemp("results")
    chosen = [(FM_VS_CNF, arm) for arm in ARMS]
    chosen += [(CLAIMS, variant) for variant in ("8gaussians_cnf", "8gaussians_fm_vp", "checkerboard_fm_ot")]
    return {(e.name, variant): perform(folder, variant, e) for e, variant in chosen}


# -- The goal -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ([3.0, 2.0, 1.0, 0.5, 0.4], 2),
        ([3.0, 1.0, 2.0, 0.9, 0.8, 5.0], 3),  # the second was a fluctuation; what comes after counts no more
        ([1.0, 1.0], 0),  # the goal itself reaches it
        ([3.0, 2.0, 1.5], None),
        ([3.0, 2.0, 0.1], None),  # nothing confirms the last
        ([0.1, 3.0, 0.1, 3.0], None),
        ([0.1], None),
    ],
)
def test_a_goal_is_reached_where_two_in_a_row_reach_it(values: list[float], place: int | None) -> None:
    assert convergence.reached(values, 1.0) == place


def recorded(folder: Path, w2: list[float], kl: list[float]) -> Run:
    """Record hand-made curves, one validation after each 10 iterations, the k-th of which took k seconds."""
    settings = lasting("fm", 10 * len(w2)) | {"validate_every": 10, "spacing": 1.0}
    run = blank(folder, "fm", w2_goal=1.5, kl_goal=0.1, **settings)
    config = configured("fm", w2_goal=1.5, kl_goal=0.1, **settings)
    validation = convergence.Validation(run, untrained(run, config), config)
    validation.yardstick = 2.0
    done = [10 * (k + 1) for k in range(len(w2))]
    validation.found = dict(zip(done, zip(w2, kl, strict=True), strict=True))
    seconds = [float(k + 1) for k in range(done[-1])]
    validation.record(Log(seconds=seconds))
    return run


def test_iterations_and_seconds_to_target_are_those_of_the_first_of_both(tmp_path: Path) -> None:
    run = recorded(tmp_path, w2=[9, 3.1, 3.0, 2.9, 7], kl=[0.5, 0.4, 0.3, 0.09, 0.1])
    assert run.metrics["iterations_to_target[wasserstein2]"].value == 30  # 1.5 x 2
    assert run.metrics["time_to_target[wasserstein2]"].value == 30 * 31 / 2
    assert run.metrics["iterations_to_target[kl]"].value == 40
    assert run.curves["kl"].x == (10, 20, 30, 40, 50)
    assert run.curves["kl seconds"].x == (55, 210, 465, 820, 1275)
    assert run.curves["kl"].y == run.curves["kl seconds"].y == (0.5, 0.4, 0.3, 0.09, 0.1)


def test_of_a_goal_never_reached_nothing_is_recorded(tmp_path: Path) -> None:
    run = recorded(tmp_path, w2=[9, 8, 7], kl=[0.5, 0.05, 0.04])
    assert "iterations_to_target[wasserstein2]" not in run.metrics
    assert "time_to_target[wasserstein2]" not in run.metrics
    assert run.metrics["iterations_to_target[kl]"].value == 20
    assert run.curves["wasserstein2"].y == (9, 8, 7)


# -- The validations ------------------------------------------------------------------------------------------------


def trained(
    folder: Path, variant: str, unseen: dict[str, Any] | None = None, **overrides: Any
) -> tuple[Run, Any, Log]:
    """Train; of the settings `unseen` the run's seeds know nothing."""
    run = blank(folder, variant, **overrides)
    config = dataclasses.replace(configured(variant, **overrides), **(unseen or {}))
    flow = untrained(run, config)
    return run, flow, convergence.fit(run, flow, config)


@pytest.mark.parametrize("variant", ["cnf", "fm"])
def test_validations_change_no_weight_and_no_loss(tmp_path: Path, variant: str) -> None:
    settings = lasting(variant, 6)
    often, seldom = (
        trained(tmp_path / str(v), variant, {"validate_every": v, "compared": 40 * v}, **settings)
        for v in (1, 6)
    )
    assert [len(each[0].curves["kl"].x) for each in (often, seldom)] == [6, 1]
    assert often[2].losses == seldom[2].losses
    assert often[2].nfe_forward == seldom[2].nfe_forward
    for one, other in zip(often[1].parameters(), seldom[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_validation_is_outside_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading of a fake clock is a second later, and a validation takes a thousand."""
    now = itertools.count(0.0)
    monkeypatch.setattr("replications.flows.training.loop.time.perf_counter", lambda: next(now))
    validate = convergence.Validation.__call__

    def slow(self: convergence.Validation) -> float:
        for _ in range(1000):
            next(now)
        return validate(self)

    monkeypatch.setattr(convergence.Validation, "__call__", slow)
    _, _, log = trained(tmp_path, "fm", **lasting("fm", 4), validate_every=1)
    assert log.seconds == [1.0] * 4
    assert next(now) > 4000


def test_curves_survive_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = lasting("fm", 6) | {"validate_every": 1}
    whole = trained(tmp_path / "whole", "fm", **settings)[0]
    monkeypatch.setattr(
        "replications.flows.training.loop._Trainer.save_if_due", lambda trainer: trainer.save()
    )
    validate, calls = convergence.Validation.__call__, itertools.count()

    def interrupted(self: convergence.Validation) -> float:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return validate(self)

    monkeypatch.setattr(convergence.Validation, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", "fm", **settings)
    resumed = trained(tmp_path / "parts", "fm", **settings)[0]
    assert resumed.resumed == 1
    for key in ("kl", "wasserstein2"):
        assert resumed.curves[key] == whole.curves[key]


def test_arms_see_the_same_points_and_start_from_the_same_weights(tmp_path: Path) -> None:
    runs = {arm: blank(tmp_path, arm) for arm in ("cnf", "fm", "fm_8000")}
    flows = {arm: untrained(run, configured(arm)) for arm, run in runs.items()}
    validations = {arm: convergence.Validation(run, flows[arm], configured(arm)) for arm, run in runs.items()}
    for arm in ("fm", "fm_8000"):
        assert torch.equal(validations[arm].data, validations["cnf"].data)
        assert torch.equal(validations[arm].base, validations["cnf"].base)
        for one, other in zip(flows[arm].parameters(), flows["cnf"].parameters(), strict=True):
            assert torch.equal(one, other)
    short, long = (trained(tmp_path / arm, arm)[2].losses for arm in ("fm", "fm_8000"))
    assert (len(short), len(long)) == (3, 8)
    assert long[:3] == short


def test_maximum_likelihood_and_regression_lower_their_losses(tmp_path: Path) -> None:
    for variant in ("cnf", "fm"):
        settings = lasting(variant, 60) | {"learning_rate": 1e-2, "batch": 64}
        losses = trained(tmp_path / variant, variant, hidden=(16, 16, 16), **settings)[2].losses
        assert np.mean(losses[-10:]) < losses[0] - 0.2, variant


# -- The runs -------------------------------------------------------------------------------------------------------


def test_runs_record_what_is_declared(finished: dict[tuple[str, str], Run]) -> None:
    declared = {e.name: set(e.metrics) for e in (FM_VS_CNF, CLAIMS)}
    for (name, variant), run in finished.items():
        assert {split_key(key)[0] for key in run.metrics} == declared[name], variant
    of = finished["blog.fm_vs_cnf", "fm"].metrics
    assert of["nfe[euler-8]"].value == of["nfe[midpoint-4]"].value == 8
    assert of["nfe_forward"].value == 1
    assert finished["blog.fm_vs_cnf", "cnf"].metrics["nfe_forward"].value > 6
    assert of["inception_score"].value <= 2


def test_a_trained_flow_is_loaded_again(tmp_path: Path) -> None:
    run = perform(tmp_path, "ot_cfm")
    loaded = load_model(write(tmp_path, Record(run.identity, "done")))
    base = run.curves["samples"].x
    drawn = loaded.prior.sample(40, run.torch_generator("base"), dtype=torch.float32, device="cpu")
    torch.testing.assert_close(
        loaded.decode(drawn)[:, 0].double(), torch.tensor(base, dtype=torch.float64), rtol=0, atol=1e-3
    )


def test_figures_are_drawn_from_records(finished: dict[tuple[str, str], Run]) -> None:
    for experiment, panels in ((FM_VS_CNF, (4, 4, 2)), (CLAIMS, (8, 6, 4))):
        records = [
            Record(run.identity, "done", metrics=run.metrics, curves=run.curves)
            for (name, _), run in finished.items()
            if name == experiment.name
        ]
        for reference, count in zip(experiment.figures.values(), panels, strict=True):
            figure = resolve(reference)(records)
            assert isinstance(figure, Figure)
            assert len(figure.axes) == count
            assert resolve(reference)([]) is None


def test_the_schedule_is_dense_at_first_then_geometric_and_ends_with_the_budget() -> None:
    of = {arm: FM_VS_CNF.configure(arm, "cpu").schedule for arm in ("cnf", "fm", "fm_8000")}
    assert of["fm_8000"][:8] == (20, 40, 60, 80, 100, 120, 160, 200)
    assert [schedule[-1] for schedule in of.values()] == [2000, 3000, 8000]
    assert len(of["fm_8000"]) < 30
    for short in ("cnf", "fm"):
        assert set(of[short][:-1]) <= set(of["fm_8000"])
    assert ConvergenceConfig(iterations=5, validate_every=20).schedule == (5,)
    assert ConvergenceConfig(iterations=50, validate_every=20, spacing=1.0).schedule == (20, 40, 50)


def test_budgets_of_the_tiers() -> None:
    budgets = {
        (arm, tier): FM_VS_CNF.configure(arm, tier).budget
        for arm in ("cnf", "fm", "fm_8000")
        for tier in ("cpu", "gpu", "paper")
    }
    assert {budgets["cnf", t] for t in ("gpu", "paper")} == {8000}
    assert budgets["cnf", "cpu"] == 2000
    assert {budgets["fm", t] for t in ("cpu", "gpu", "paper")} == {3000}
    assert {budgets["fm_8000", t] for t in ("cpu", "gpu", "paper")} == {8000}


@pytest.mark.parametrize("overrides", [{"share": 0.0}, {"cnf_share": 1.5}, {"compared": 3}, {"scored": 100}])
def test_settings_out_of_range_are_refused(overrides: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(overrides))):
        ConvergenceConfig(**overrides)


# -- Densities ------------------------------------------------------------------------------------------------------


def grid(reach: float = 6.0, side: int = 241) -> tuple[Any, float]:
    """Centres of the cells of a grid over [-reach, reach]^2, and a cell's area."""
    edge = np.linspace(-reach, reach, side)
    middle = (edge[:-1] + edge[1:]) / 2
    return np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2), (edge[1] - edge[0]) ** 2


@pytest.mark.parametrize("name", DENSITIES)
def test_a_density_is_that_of_the_drawn_points(name: str) -> None:
    """Its mass is 1, and the mean over draws of log q and of bounded functions is that over the density."""
    at, area = grid()
    log_q = log_density(name, at)
    q = np.exp(log_q)
    assert q.sum() * area == pytest.approx(1, abs=1e-9 if name != "checkerboard" else 1e-12)
    x = toy2d.draw(name, 20_000, np.random.default_rng(0))
    functions = [
        lambda y, log: np.where(np.isfinite(log), log, 0.0),
        lambda y, log: np.cos(2 * y[:, 0] - y[:, 1]),
        lambda y, log: np.sin(y[:, 0] + 3 * y[:, 1]),
        lambda y, log: y[:, 0] * y[:, 1],
    ]
    for function in functions:
        drawn = function(x, log_density(name, x))
        expected = (function(at, log_q) * q).sum() * area
        assert drawn.mean() == pytest.approx(expected, abs=4 * drawn.std() / len(x) ** 0.5 + 1e-6)
    assert np.isfinite(log_density(name, x)).all()


def test_densities_known_by_hand() -> None:
    assert log_density("checkerboard", [[-3.0, -3.0], [-3.0, -1.0], [5.0, 5.0]]).tolist() == [
        pytest.approx(-np.log(32)),
        -np.inf,
        -np.inf,
    ]
    centre = log_density("8gaussians", [[4 / 1.414, 0.0]])
    assert centre[0] == pytest.approx(-np.log(8 * 2 * np.pi * (0.5 / 1.414) ** 2), abs=1e-6)
    with pytest.raises(UserError, match="not known"):
        log_density("pinwheel", [[0.0, 0.0]])
