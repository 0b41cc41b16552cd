"""Small runs of Flow Matching on points: which points, solver and network each number is of."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted_velocities import Eight
from support import loaded, perform, recorded, sizes_seen, untimed

from bench.data import toy2d
from bench.errors import UserError
from bench.execution.run import Run
from bench.identity import identify
from bench.metrics.catalogue import split_key
from replications.flow_matching import points
from replications.flow_matching.experiments import TOY
from replications.flow_matching.experiments.toy import figures
from replications.flow_matching.experiments.toy.data import Pairs
from replications.flow_matching.experiments.toy.run import evaluate, fit, method_of, settings
from replications.flow_matching.method import METHODS, draw, objective
from replications.flow_matching.model import build, flow_of, velocity_of
from replications.flow_matching.paths import (
    BridgePath,
    LinearPath,
    OptimalTransportPath,
    VariancePreservingPath,
)
from replications.flows.density import evaluate as measured
from replications.flows.density.integration import DEFAULT
from replications.flows.density.priors import StandardNormal
from replications.tasks.density2d.evaluation import fresh


def a_run(folder: Path, variant: str, seed: int = 0, **overrides: Any) -> Run:
    return Run(identify(TOY, variant, "smoke", seed, overrides), folder)


@pytest.mark.parametrize("variant", ["8gaussians_sb_cfm", "moons_to_8gaussians_i_cfm", "checkerboard_fm_vp"])
def test_each_number_is_of_fresh_points_and_its_own_solver(tmp_path: Path, variant: str) -> None:
    if "sb" in variant:
        pytest.importorskip("ot")
    run, config = perform(TOY, variant, tmp_path), TOY.configure(variant, "smoke")
    normal, board = "_to_" not in variant, "checkerboard" in variant
    without = set() if normal else {"nll", "bits_per_dim", "nfe_test", "loglik_time"}
    assert {split_key(key)[0] for key in run.metrics} == set(TOY.metrics) - without
    found, flow, law = {key: m.value for key, m in run.metrics.items()}, loaded(run), fresh(run, config.data)
    assert (found["nfe_forward"], found["nfe_backward"], found["parameters"]) == (1, 0, 8706)
    source = flow.prior.sample(40, run.torch_generator("source"), dtype=torch.float32, device="cpu")
    data, other = law.test(40).points, law.test(40, "test again").points
    assert found["wasserstein2[data against data]"] == pytest.approx(points.w2(other, data))
    assert found["wasserstein2[source against data]"] == pytest.approx(points.w2(source, data))
    with torch.no_grad():
        samples = flow.decode(source)
        euler, own = (flow.decode(source, points.equal_steps("euler", n)) for n in (2, 4))
    np.testing.assert_allclose(run.artifacts["samples"], samples, atol=1e-5)
    assert found["wasserstein2"] == pytest.approx(points.w2(samples, data), rel=1e-4)
    assert found["wasserstein2[euler-2]"] == pytest.approx(points.w2(euler, data), rel=1e-4)
    assert found["wasserstein2[euler-4]"] == pytest.approx(points.w2(own, data), rel=1e-4)
    assert (found["nfe[euler-4]"], run.curves["w2_against_nfe"].x) == (4, (1, 2))
    assert run.curves["w2_against_nfe"].y[1] == found["wasserstein2[euler-2]"]
    paths = points.paths(flow, source, points.w2(source, data), config.path_times, DEFAULT.solver)
    assert found["straightness"] == pytest.approx(paths.straightness, rel=1e-3)
    assert found["path_energy"] == pytest.approx(paths.energy, rel=1e-3)
    assert {f"wasserstein2[midpoint-{n}]" in found for n in (2, 4, 5)} == {board}
    if board:
        with torch.no_grad():
            five = flow.decode(source, points.equal_steps("midpoint", 5))
        assert found["wasserstein2[midpoint-5]"] == pytest.approx(points.w2(five, data), rel=1e-4)
        np.testing.assert_allclose(run.artifacts["samples midpoint-5"], five, atol=1e-5)
    if normal:
        fresh_points = law.test(config.test_points, "likelihood").points
        assert found["nll"] == pytest.approx(measured.likelihood(flow, fresh_points, DEFAULT).nll, rel=1e-4)
    else:
        with pytest.raises(UserError, match="no density"):
            flow.log_prob(torch.zeros(1, 2))


def test_runs_repeat_for_a_seed_and_methods_are_paired(tmp_path: Path) -> None:
    """Methods see the same source, data and first weights, so that only what they regress differs."""
    first = perform(TOY, "8gaussians_to_moons_i_cfm", tmp_path)
    again, other = (perform(TOY, "8gaussians_to_moons_i_cfm", tmp_path, seed) for seed in (0, 1))
    coupled = perform(TOY, "8gaussians_to_moons_ot_cfm", tmp_path)
    assert untimed(first) == untimed(again)
    shared = [f"wasserstein2[{name} against data]" for name in ("data", "source")]
    for key in shared:
        assert first.metrics[key].value == coupled.metrics[key].value
        assert first.metrics[key].value != other.metrics[key].value
    assert coupled.metrics["wasserstein2"].value != first.metrics["wasserstein2"].value
    # The least cost of pairs is well below that of any; so is what is left of the target.
    assert coupled.curves["loss"].y[0] < 0.8 * first.curves["loss"].y[0]


def test_a_loss_is_that_of_the_iterations_pairs_and_draws(tmp_path: Path) -> None:
    """At a rate of zero the network stays what it is, and each loss can be computed again."""
    overrides = {"learning_rate": 0.0, "weight_decay": 0.0, "iterations": 3}
    run, config = (
        a_run(tmp_path, "moons_ot_cfm", **overrides),
        TOY.configure("moons_ot_cfm", "smoke", overrides),
    )
    flow, method, pairs = (
        build(2, config.hidden, generator=torch.Generator().manual_seed(0)),
        method_of(config),
        Pairs(run, config),
    )
    fit(run, flow, method, pairs, config)
    for i, loss in enumerate(run.curves["loss"].y):
        _, x1 = pairs(i)
        drawn = draw(method, x1, run.torch_generator(f"draw/{i}"))
        assert loss == pytest.approx(objective(velocity_of(flow), method.path, x1, drawn).item(), rel=1e-5)
    assert run.curves["loss"].y_label == "mean squared error"
    assert run.metrics["train_loss"].protocol.startswith("3 iterations of 16/")


def test_the_optimizer_is_adamw_with_the_configs_rate_and_decay() -> None:
    found = settings(TOY.configure("moons_ot_cfm", "paper", {"weight_decay": 0.25}))
    assert (found.optimizer, found.lr, found.weight_decay, found.schedule) == (
        "adamw",
        1e-3,
        0.25,
        "constant",
    )
    assert found.iterations == 20_000


def test_maximum_likelihood_is_trained_as_the_tutorial_trains_it(tmp_path: Path) -> None:
    """At a rate of zero each loss can be computed again: the NLL of fresh points by 100 steps of Euler."""
    overrides = {"learning_rate": 0.0, "iterations": 2, "compared": 40, "test_points": 40, "path_times": 3,
                 "euler_steps": (1,), "repeats": 1}  # fmt: skip
    run = perform(TOY, "noise_to_moons_cnf", tmp_path, tier="paper", **overrides)
    config = TOY.configure("noise_to_moons_cnf", "paper", overrides)
    flow, pairs = loaded(run), Pairs(run, config)
    for i, loss in enumerate(run.curves["loss"].y):
        expected = -flow.log_prob(pairs(i)[1], integration=points.equal_steps("euler", 100)).mean()
        assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert run.metrics["nfe_forward"].value == run.metrics["nfe_backward"].value == 100
    assert run.metrics["train_loss"].protocol.startswith(
        "2 iterations of 256/maximum likelihood/exact-trace/euler-100"
    )
    assert "iteration_time[coupling]" not in run.metrics
    assert figures.training([recorded(run)]).axes[0].get_ylabel() == run.curves["loss"].y_label


def test_methods_and_settings_are_those_of_the_papers() -> None:
    paper = {name: TOY.configure(name, "paper") for name in TOY.variants}
    tutorials = {name: paper[name] for name in TOY.variants if paper[name].data == "moons-notebook"}
    assert {name: c.iterations for name, c in tutorials.items()} == {
        "8gaussians_to_moons_i_cfm": 20_000, "8gaussians_to_moons_ot_cfm": 20_000, "noise_to_moons_cnf": 1000,
    }  # fmt: skip
    for config in tutorials.values():
        found = settings(config)
        assert (found.optimizer, found.lr, found.weight_decay, config.batch, config.train_points) == (
            "adam", 1e-3, 0.0, 256, 0,
        )  # fmt: skip
    paths = {
        "moons_fm_ot": OptimalTransportPath(0.1),
        "moons_i_cfm": LinearPath(0.1),
        "8gaussians_ot_cfm": LinearPath(0.1),
        "8gaussians_sb_cfm": BridgePath(1.0),
        "scurve_fm_vp": VariancePreservingPath(0.1, 20.0),
        "checkerboard_fm_ot": OptimalTransportPath(0.0),
    }
    for name, path in paths.items():
        assert method_of(paper[name]).path == path
        assert method_of(paper[name]).coupling == METHODS[paper[name].method]().coupling
    config = paper["moons_ot_cfm"]
    published = (config.hidden, config.batch, config.learning_rate, config.own_steps)
    assert published == ((64, 64, 64), 512, 1e-3, 100)
    assert config.iterations * config.batch / config.train_points == pytest.approx(1000, rel=0.03)  # epochs
    assert paper["checkerboard_published_fm_vp"].hidden == (512,) * 5
    assert not TOY.offers("checkerboard_published_fm_vp", "cpu")
    with pytest.raises(UserError, match="'compared'"):
        TOY.configure("moons_ot_cfm", "cpu", {"compared": 39})


def test_the_exact_velocity_is_as_near_as_other_data(tmp_path: Path) -> None:
    variant, overrides = "8gaussians_fm_ot", {"compared": 400, "test_points": 500, "path_times": 51}
    run, field = a_run(tmp_path, variant, **overrides), Eight()
    evaluate(run, flow_of(field, StandardNormal(2)), TOY.configure(variant, "smoke", overrides))
    found = {key: m.value for key, m in run.metrics.items()}
    reference = found["wasserstein2[data against data]"]
    assert 0.5 * reference < found["wasserstein2"] < 1.5 * reference
    assert found["wasserstein2[euler-1]"] > 2.5 * reference  # one step knows no more than the mean
    for key, chance in (("mmd", 0), ("c2st", 50)):
        assert abs(found[key] - chance) < 4 * run.metrics[key].se  # type: ignore[operator]
    x = torch.tensor(toy2d.draw("8gaussians-cfm", 500, run.numpy_generator("likelihood")))
    expected = -field.target.log_prob(x.float()).mean().item()
    assert found["nll"] == pytest.approx(expected, abs=1e-3)
    # The field is not that of optimal transport: its energy is above, by more than the error of W2.
    assert found["path_energy"] > 0.05
    assert found["straightness"] > 0.1


# -- figures --------------------------------------------------------------------------------------------------


def test_figures_show_what_is_recorded(tmp_path: Path) -> None:
    runs = [
        perform(TOY, variant, tmp_path, seed)
        for variant, seed in (("checkerboard_fm_ot", 0), ("checkerboard_fm_vp", 0), ("moons_ot_cfm", 1))
    ]
    records = [recorded(run) for run in runs]
    panels = {"samples": 3, "paths": 3, "few_steps": 2 * 3, "w2_against_nfe": 2, "training": 2}
    assert panels.keys() == TOY.figures.keys()
    for name, n in panels.items():
        draw_figure = getattr(figures, name)
        assert draw_figure([]) is None
        assert sum(ax.get_visible() for ax in draw_figure(records).axes) == n
    assert figures.few_steps(records[2:]) is None
    board = figures.w2_against_nfe(records).axes[0]
    for line, name, record in zip(board.lines, ("fm-ot", "fm-vp"), records, strict=False):
        assert line.get_label() == name
        np.testing.assert_allclose(line.get_xdata(), (1, 2))
        np.testing.assert_allclose(line.get_ydata(), record.curves["w2_against_nfe"].y)
    floor = np.mean([r.metrics["wasserstein2[data against data]"].value for r in records[:2]])
    assert board.lines[2].get_ydata()[0] == pytest.approx(floor)
    dots = figures.samples(records).axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(dots, records[0].array("samples"))
    path, start = figures.paths(records).axes[0].lines[:2]
    np.testing.assert_allclose(path.get_xdata(), records[0].array("paths")[0, :, 0])
    assert start.get_xdata()[0] == records[0].array("paths")[0, 0, 0]
    five = figures.few_steps(records).axes[2]
    assert five.get_title() == "checkerboard_fm_ot, NFE 10"
    np.testing.assert_allclose(five.collections[0].get_offsets(), records[0].array("samples midpoint-5"))


def test_a_short_last_batch_weighs_as_its_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, overrides = sizes_seen(monkeypatch), {"train_points": 40, "batch": 16, "iterations": 3}
    run, config = (
        a_run(tmp_path, "moons_i_cfm", **overrides),
        TOY.configure("moons_i_cfm", "smoke", overrides),
    )
    flow = build(2, config.hidden, generator=torch.Generator().manual_seed(0))
    fit(run, flow, method_of(config), Pairs(run, config), config)
    assert seen == [[16, 16, 8]]
