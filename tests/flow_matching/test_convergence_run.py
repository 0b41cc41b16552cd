"""Trainings until a goal: what a validation may touch, what methods share, and which points each number is of."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import loaded, perform, recorded

from bench.execution.run import Run
from bench.experiment import Experiment
from bench.identity import identify
from bench.metrics.catalogue import split_key
from bench.metrics.fidelity.quality import quality
from bench.registry import resolve
from replications.blog.experiments.fm_vs_cnf.declaration import FM_VS_CNF
from replications.flow_matching import model, points
from replications.flow_matching.convergence import run as convergence
from replications.flow_matching.convergence.declaration import ConvergenceConfig
from replications.flow_matching.convergence.validation import Validation, log_ratio, validation_data
from replications.flow_matching.experiments.claims.declaration import CLAIMS
from replications.flow_matching.method import METHODS, draw, objective
from replications.flows.density import evaluate as measured
from replications.flows.density.integration import DEFAULT, Integration
from replications.flows.ode.solver import Solver
from replications.flows.training.clock import TrainingClock
from replications.flows.training.log import Log
from replications.tasks.density2d.evaluation import fresh

VARIANTS = ("cnf", "fm", "ot_cfm")


def blank(
    folder: Path, variant: str, experiment: Experiment = FM_VS_CNF, seed: int = 0, **overrides: Any
) -> Run:
    return Run(identify(experiment, variant, "smoke", seed, overrides), folder)


def configured(variant: str, experiment: Experiment = FM_VS_CNF, **overrides: Any) -> ConvergenceConfig:
    config: ConvergenceConfig = experiment.configure(variant, "smoke", overrides)
    return config


def lasting(variant: str, iterations: int) -> dict[str, Any]:
    """Return the settings by which a training of Experiment 4 has so many iterations."""
    return {"share": iterations / FM_VS_CNF.variants[variant]["iterations"], "cnf_share": 1.0}


def untrained(run: Run, config: ConvergenceConfig) -> Any:
    return model.build(2, config.hidden, generator=run.torch_generator("field"))


# -- training -------------------------------------------------------------------------------------------------------


def trained(
    folder: Path, variant: str, unseen: dict[str, Any] | None = None, **overrides: Any
) -> tuple[Run, Any, Log]:
    """Train; of the settings `unseen` the run's identity knows nothing."""
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
    validate = Validation.__call__

    def slow(self: Validation) -> float:
        for _ in range(1000):
            next(now)
        return validate(self)

    monkeypatch.setattr(Validation, "__call__", slow)
    _, _, log = trained(tmp_path, "fm", **lasting("fm", 4), validate_every=1)
    assert log.seconds == [2.0] * 4  # from the start to the data, from the data to the end
    assert log.drawing == [1.0] * 4
    assert next(now) > 4000


def test_curves_survive_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = lasting("fm", 6) | {"validate_every": 1}
    whole = trained(tmp_path / "whole", "fm", **settings)[0]
    monkeypatch.setattr(
        "replications.flows.training.loop._Trainer.save_if_due", lambda trainer: trainer.save()
    )
    validate, calls = Validation.__call__, itertools.count()

    def interrupted(self: Validation) -> float:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return validate(self)

    monkeypatch.setattr(Validation, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", "fm", **settings)
    resumed = trained(tmp_path / "parts", "fm", **settings)[0]
    assert resumed.resumed == 1
    for key in ("kl", "wasserstein2"):
        assert resumed.curves[key] == whole.curves[key]


def test_methods_see_the_same_points_and_start_from_the_same_weights(tmp_path: Path) -> None:
    runs = {variant: blank(tmp_path, variant) for variant in ("cnf", "fm", "fm_8000")}
    flows = {variant: untrained(run, configured(variant)) for variant, run in runs.items()}
    data = {
        variant: validation_data(run, flows[variant], configured(variant)) for variant, run in runs.items()
    }
    for variant in ("fm", "fm_8000"):
        assert torch.equal(data[variant].x.points, data["cnf"].x.points)
        assert torch.equal(data[variant].base, data["cnf"].base)
        for one, other in zip(flows[variant].parameters(), flows["cnf"].parameters(), strict=True):
            assert torch.equal(one, other)
    short, long = (trained(tmp_path / variant, variant)[2].losses for variant in ("fm", "fm_8000"))
    assert (len(short), len(long)) == (3, 8)
    assert long[:3] == short


def test_each_loss_is_that_of_its_method_on_the_iterations_points(tmp_path: Path) -> None:
    for variant in VARIANTS:
        run, config = blank(tmp_path, variant), configured(variant, tolerance=1e-6)
        flow = untrained(run, config)
        loss, protocol = convergence.loss_of(run, flow, config, TrainingClock())
        x = fresh(run, "moons").batch(4, config.batch).points
        if variant == "cnf":
            tight = Integration(Solver(rtol=1e-9, atol=1e-9))
            expected = -copy.deepcopy(flow).double().log_prob(x.double(), integration=tight).mean()
            assert protocol == "maximum likelihood/exact-trace/dopri5-1e-6"
        else:
            method = METHODS[config.method]()
            drawn = draw(method, x, run.torch_generator("draw/4"))
            expected = objective(model.velocity_of(flow), method.path, x, drawn)
            assert protocol == f"{config.method}/mean squared error"
        assert loss(4).item() == pytest.approx(expected.item(), abs=5e-4), variant


def test_maximum_likelihood_trains_at_the_configs_tolerance(tmp_path: Path) -> None:
    spent = {}
    for tolerance in (1e-2, 1e-6):
        run, config = blank(tmp_path, "cnf"), configured("cnf", tolerance=tolerance)
        flow = untrained(run, config)
        convergence.loss_of(run, flow, config, TrainingClock())[0](0)
        spent[tolerance] = flow.counter.forward_evaluations
    assert spent[1e-6] > 1.5 * spent[1e-2]


def test_the_average_of_the_weights_is_what_is_trained_to(tmp_path: Path) -> None:
    found = convergence.settings(configured("fm", average=0.75, learning_rate=0.5, validate_every=2))
    assert (found.ema_decay, found.lr, found.validate_every, found.iterations) == (0.75, 0.5, 2, 3)
    assert (found.optimizer, found.schedule) == ("adam", "constant")


def test_maximum_likelihood_and_regression_lower_their_losses(tmp_path: Path) -> None:
    for variant in ("cnf", "fm"):
        settings = lasting(variant, 60) | {"learning_rate": 1e-2, "batch": 64}
        losses = trained(tmp_path / variant, variant, hidden=(16, 16, 16), **settings)[2].losses
        assert np.mean(losses[-10:]) < losses[0] - 0.2, variant


# -- runs -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Run]:
    """One small run of each method of both experiments."""
    folder = tmp_path_factory.mktemp("results")
    chosen = [(FM_VS_CNF, variant) for variant in VARIANTS]
    chosen += [(CLAIMS, variant) for variant in ("8gaussians_cnf", "8gaussians_fm_vp", "checkerboard_fm_ot")]
    return {(e.name, variant): perform(e, variant, folder) for e, variant in chosen}


def test_runs_record_what_is_declared(finished: dict[tuple[str, str], Run]) -> None:
    declared = {e.name: set(e.metrics) for e in (FM_VS_CNF, CLAIMS)}
    for (name, variant), run in finished.items():
        likelihood = (
            {"debiased_wasserstein2"} if (name, variant) == (CLAIMS.name, "8gaussians_cnf") else set()
        )
        assert {split_key(key)[0] for key in run.metrics} == declared[name] - likelihood, variant
        assert "validation" not in run.curves
    of = finished["blog.fm_vs_cnf", "fm"].metrics
    assert of["nfe_forward"].value == 1
    assert of["train_loss"].protocol.startswith("3 iterations of 16/fm-ot/mean squared error")
    cnf = finished["blog.fm_vs_cnf", "cnf"].metrics
    assert cnf["nfe_forward"].value > 6
    assert cnf["train_loss"].protocol.startswith("8 iterations of 16/maximum likelihood/")
    assert of["inception_score"].value <= 2


@pytest.mark.parametrize(
    ("name", "variant"),
    [("blog.fm_vs_cnf", "cnf"), ("blog.fm_vs_cnf", "fm"), ("flow_matching.claims", "8gaussians_fm_vp")],
)
@torch.no_grad()
def test_each_number_is_of_its_own_fresh_points(
    finished: dict[tuple[str, str], Run], name: str, variant: str
) -> None:
    run = finished[name, variant]
    config = configured(variant, FM_VS_CNF if name == "blog.fm_vs_cnf" else CLAIMS)
    flow, law = loaded(run), fresh(run, config.data)
    found = {key: m.value for key, m in run.metrics.items()}
    data, other = law.test(40).points, law.test(40, "test again").points
    base = flow.prior.sample(40, run.torch_generator("base"), dtype=torch.float32, device="cpu")
    samples = flow.decode(base)
    np.testing.assert_allclose(run.artifacts["samples"], samples, atol=1e-4)
    np.testing.assert_allclose(run.artifacts["data"], data)
    assert found["wasserstein2[data against data]"] == pytest.approx(points.w2(other, data))
    assert found["wasserstein2[source against data]"] == pytest.approx(points.w2(base, data))
    assert found["wasserstein2"] == pytest.approx(points.w2(samples, data), rel=1e-3)
    for method, steps in convergence.SHORT:
        short = flow.decode(base, points.equal_steps(method, steps))
        assert found[f"wasserstein2[{method}-{steps}]"] == pytest.approx(points.w2(short, data), rel=1e-3)
        assert found[f"nfe[{method}-{steps}]"] == 8
    assert run.curves["w2_against_nfe euler"].x == (1, 8)
    assert run.curves["w2_against_nfe midpoint"].x == (8,)
    assert run.curves["w2_against_nfe euler"].y[1] == pytest.approx(found["wasserstein2[euler-8]"], rel=1e-6)
    x = law.test(40, "likelihood").points
    likelihood = measured.likelihood(flow, x, DEFAULT)
    assert found["nll"] == pytest.approx(likelihood.nll, rel=1e-4)
    excess = log_ratio(config.data, x, likelihood.log_prob)
    assert found["kl"] == pytest.approx(excess.mean().item(), rel=1e-3)
    assert run.metrics["kl"].se == pytest.approx(excess.std().item() / 40**0.5, rel=1e-3)
    paths = points.paths(flow, base, points.w2(base, data), config.path_times, DEFAULT.solver)
    assert found["straightness"] == pytest.approx(paths.straightness, rel=1e-3)
    assert found["path_energy"] == pytest.approx(paths.energy, rel=1e-3)


@torch.no_grad()
def test_the_debiased_w2_is_of_many_sets_and_its_floor_of_other_data(
    finished: dict[tuple[str, str], Run],
) -> None:
    run = finished["blog.fm_vs_cnf", "fm"]
    flow, law = loaded(run), fresh(run, "moons")
    data, other = (
        torch.stack([law.test(40, f"{name}/{k}").points for k in range(10)])
        for name in ("sets", "other sets")
    )
    drawn = torch.stack([flow.sample(40, run.torch_generator(f"sets/{k}"), DEFAULT) for k in range(10)])
    for samples, key in ((drawn, ""), (other, "[data against data]")):
        found, (value, se) = run.metrics[f"debiased_wasserstein2{key}"], points.debiased_w2(samples, data)
        assert found.value == pytest.approx(value, abs=1e-4)
        assert found.se == pytest.approx(se, abs=1e-4)
        assert found.n == 400
    floor = run.metrics["debiased_wasserstein2[data against data]"]
    assert abs(floor.value) < 4 * floor.se < run.metrics["debiased_wasserstein2"].value  # untrained
    assert "debiased_wasserstein2[midpoint-4]" in run.metrics
    assert not any(
        key.startswith("debiased") for key in finished["flow_matching.claims", "8gaussians_cnf"].metrics
    )


@torch.no_grad()
def test_scores_are_of_samples_and_of_other_data_against_one_reference(
    finished: dict[tuple[str, str], Run],
) -> None:
    run = finished["blog.fm_vs_cnf", "fm"]
    flow, law = loaded(run), fresh(run, "moons")
    reference, other = (
        law.test(128, stream).points.double().numpy() for stream in ("reference", "reference again")
    )
    drawn = flow.sample(128, run.torch_generator("scored/0"), DEFAULT).double().numpy()
    for scored, qualifier in ((drawn, ""), (other, "data")):
        expected = quality(scored, reference, "points-v1", "moons", run.numpy_generator("scores"))
        for name in ("fid", "precision", "recall", "inception_score"):
            key = f"{name}[{qualifier}]" if qualifier else name
            assert run.metrics[key].value == pytest.approx(expected[name].value, rel=1e-3), key


def test_figures_show_what_is_recorded(finished: dict[tuple[str, str], Run]) -> None:
    for experiment, panels in ((FM_VS_CNF, (4, 4, 2)), (CLAIMS, (8, 6, 4))):
        records = [recorded(run) for (name, _), run in finished.items() if name == experiment.name]
        for reference, count in zip(experiment.figures.values(), panels, strict=True):
            assert len(resolve(reference)(records).axes) == count
            assert resolve(reference)([]) is None
    records = [recorded(finished["blog.fm_vs_cnf", variant]) for variant in VARIANTS]
    w2, _, kl, _ = resolve(FM_VS_CNF.figures["convergence"])(records).axes
    for record, line in zip(records, w2.lines, strict=False):
        assert tuple(line.get_ydata()) == record.curves["wasserstein2"].y
        assert line.get_label() == record.identity.variant
    goals = [1e3 * r.metrics["wasserstein2[validation data]"].value for r in records]
    assert w2.lines[-1].get_ydata()[0] == pytest.approx(np.mean(goals))
    assert kl.lines[-1].get_ydata()[0] == 1e3
    euler, _ = resolve(FM_VS_CNF.figures["few_steps"])(records).axes
    floor = [r.metrics["wasserstein2[data against data]"].value for r in records]
    assert euler.lines[-1].get_ydata()[0] == pytest.approx(np.mean(floor))
    titles = [ax.get_title() for ax in resolve(FM_VS_CNF.figures["samples"])(records).axes]
    assert titles == ["data", *VARIANTS]
