"""Small runs of Flow Matching on points, and what they measure of velocities known in closed form."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.data import toy2d
from bench.errors import UserError
from bench.execution.run import Run
from bench.identity import identify
from bench.metrics.catalogue import split_key
from bench.models import load_model
from bench.record import Record, write
from bench.registry import resolve
from replications.flow_matching.experiments import TOY
from replications.flow_matching.experiments.toy import figures
from replications.flow_matching.experiments.toy.run import Pairs, evaluate, method_of
from replications.flow_matching.marginal import GaussianMixture, marginal_field
from replications.flow_matching.method import Method
from replications.flow_matching.model import flow_of
from replications.flow_matching.paths import (
    BridgePath,
    LinearPath,
    OptimalTransportPath,
    VariancePreservingPath,
)
from replications.flow_matching.points import record_paths
from replications.flow_matching.sources import SetSource
from replications.flows.density.priors import StandardNormal
from replications.flows.ode.solve import Solver

TIGHT = Solver(rtol=1e-9, atol=1e-9)


def a_run(folder: Path, variant: str, seed: int = 0, **overrides: Any) -> Run:
    return Run(identify(TOY, variant, "smoke", seed, overrides), folder)


def perform(variant: str, folder: Path, seed: int = 0, **overrides: Any) -> Run:
    run = a_run(folder, variant, seed, **overrides)
    resolve(TOY.run)(run, TOY.configure(variant, "smoke", overrides))
    return run


def values(run: Run) -> dict[str, float]:
    return {key: m.value for key, m in run.metrics.items() if "time" not in key}


@pytest.mark.parametrize("variant", ["8gaussians_sb_cfm", "moons_to_8gaussians_i_cfm", "checkerboard_fm_vp"])
def test_runs_record_what_is_declared_and_keep_their_model(tmp_path: Path, variant: str) -> None:
    if "sb" in variant:
        pytest.importorskip("ot")
    run = perform(variant, tmp_path)
    normal, board = "_to_" not in variant, "checkerboard" in variant
    without = set() if normal else {"nll", "bits_per_dim", "nfe_test", "loglik_time"}
    assert {split_key(key)[0] for key in run.metrics} == set(TOY.metrics) - without
    assert {f"wasserstein2[midpoint-{n}]" in run.metrics for n in (2, 4, 5)} == {board}
    assert (run.metrics["nfe_forward"].value, run.metrics["nfe_backward"].value) == (1, 0)
    assert (run.metrics["nfe[euler-4]"].value, run.metrics["parameters"].value) == (4, 8706)
    assert {run.metrics[key].se is None for key in ("mmd", "c2st", "straightness", "path_energy")} == {False}
    flow = load_model(write(tmp_path, Record(run.identity, "done")))
    source = flow.prior.sample(40, run.torch_generator("source"), dtype=torch.float32, device="cpu")
    with torch.no_grad():
        x, y = flow.decode(source).T
    np.testing.assert_allclose(run.curves["samples"].x, x, atol=6e-4)
    np.testing.assert_allclose(run.curves["samples"].y, y, atol=6e-4)
    if normal:
        assert torch.isfinite(flow.log_prob(torch.zeros(1, 2))).all()
    else:
        with pytest.raises(UserError, match="no density"):
            flow.log_prob(torch.zeros(1, 2))


def test_runs_repeat_for_a_seed_and_methods_are_paired(tmp_path: Path) -> None:
    """Methods see the same source, data and first weights, so that only what they regress differs."""
    first = perform("8gaussians_to_moons_i_cfm", tmp_path)
    again, other = (perform("8gaussians_to_moons_i_cfm", tmp_path, seed) for seed in (0, 1))
    coupled = perform("8gaussians_to_moons_ot_cfm", tmp_path)
    assert values(first) == values(again)
    shared = [f"wasserstein2[{name} against data]" for name in ("data", "source")]
    for key in shared:
        assert first.metrics[key].value == coupled.metrics[key].value
        assert first.metrics[key].value != other.metrics[key].value
    assert coupled.metrics["wasserstein2"].value != first.metrics["wasserstein2"].value
    # The least cost of pairs is well below that of any; so is what is left of the target.
    assert coupled.curves["loss"].y[0] < 0.8 * first.curves["loss"].y[0]


def test_methods_and_settings_are_those_of_the_papers() -> None:
    paper = {name: TOY.configure(name, "paper") for name in TOY.variants}
    paths = {
        "moons_fm_ot": OptimalTransportPath(0.1),
        "moons_i_cfm": LinearPath(0.1),
        "8gaussians_ot_cfm": LinearPath(0.1),
        "8gaussians_sb_cfm": BridgePath(1.0),
        "scurve_fm_vp": VariancePreservingPath(0.1, 20.0),
        "checkerboard_fm_ot": OptimalTransportPath(0.0),
    }
    for name, path in paths.items():
        method = method_of(paper[name])
        assert isinstance(method, Method)
        assert method.path == path
    config = paper["moons_ot_cfm"]
    assert (config.hidden, config.batch, config.learning_rate, config.own_steps) == (
        (64, 64, 64),
        512,
        1e-3,
        100,
    )
    assert config.iterations * config.batch / config.train_points == pytest.approx(1000, rel=0.03)  # epochs
    assert paper["checkerboard_published_fm_vp"].hidden == (512,) * 5
    assert not TOY.offers("checkerboard_published_fm_vp", "cpu")
    with pytest.raises(UserError, match="'compared'"):
        TOY.configure("moons_ot_cfm", "cpu", {"compared": 39})


def test_batches_go_through_the_data_and_draw_from_the_source(tmp_path: Path) -> None:
    variant = "8gaussians_to_moons_i_cfm"
    run, config = a_run(tmp_path, variant), TOY.configure(variant, "smoke", {"batch": 15})
    pairs = Pairs(run, flow_of(Fixed(torch.zeros(2)), SetSource(config.source)), config)
    epoch = torch.cat([pairs(i)[1] for i in range(3)])
    expected = toy2d.draw("moons-notebook", 40, run.numpy_generator("train"))
    np.testing.assert_allclose(sorted(epoch[:, 0].tolist()), sorted(expected[:, 0]), rtol=1e-6)
    source, _ = pairs(1)
    assert source is not None
    again, later = pairs(1)[0], pairs(4)[0]
    assert torch.equal(source, again)  # type: ignore[arg-type]
    assert not torch.equal(source, later)  # type: ignore[arg-type]
    known = toy2d.draw("8gaussians-notebook", 40, run.numpy_generator("train source"))
    assert np.abs(source.numpy()[:, None] - known).sum(2).min(1).max() < 1e-5
    normal = TOY.configure("moons_i_cfm", "smoke")
    assert Pairs(run, flow_of(Fixed(torch.zeros(2)), StandardNormal(2)), normal)(0)[0] is None


# -- velocities in closed form ------------------------------------------------------------------------------


class Fixed(nn.Module):
    """v = c, a translation by c in unit time."""

    def __init__(self, c: Tensor) -> None:
        super().__init__()
        self.c = nn.Parameter(c)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.c.expand_as(x)


class Turning(nn.Module):
    """v(x) = w J x, a rotation by w in unit time."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.w * torch.stack((-x[:, 1], x[:, 0]), 1)


class Eight(nn.Module):
    """The velocity from N(0, I) to `8gaussians-cfm` along linear paths, in closed form."""

    def __init__(self) -> None:
        super().__init__()
        angle = 2 * math.pi * torch.arange(8) / 8
        self.means = nn.Parameter(5 * torch.stack((angle.cos(), angle.sin()), 1))

    @property
    def target(self) -> GaussianMixture:
        return GaussianMixture(self.means, torch.ones(2))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return marginal_field(LinearPath(), self.target, t, x)


def normal(n: int) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_translation_is_straight_and_optimal(tmp_path: Path) -> None:
    c = torch.tensor([3.0, -4.0], dtype=torch.float64)
    run, flow = a_run(tmp_path, "moons_i_cfm"), flow_of(Fixed(c), StandardNormal(2))
    record_paths(run, flow, normal(50), 5.0, 11, TIGHT)
    assert run.metrics["straightness"].value < 1e-20
    assert run.metrics["path_energy"].value < 1e-12
    points = np.array([run.curves["paths"].x, run.curves["paths"].y]).reshape(2, 24, 11)
    ends = np.array([run.curves["path ends"].x, run.curves["path ends"].y])
    np.testing.assert_allclose(points[:, :, 0].T, normal(50)[:24], atol=6e-4)
    np.testing.assert_allclose(ends, points[:, :, 0] + np.array([[3], [-4]]), atol=2e-3)
    np.testing.assert_allclose(ends, points[:, :, -1], atol=1e-12)


def test_a_rotation_has_its_straightness_and_energy(tmp_path: Path) -> None:
    """E abs(x(1) - x(0) - v)^2 = (w^2 - 2 + 2 cos w) E abs(x)^2, and E abs(v)^2 = w^2 E abs(x)^2, over t as well."""
    w, x = 1.2, normal(50)
    run, squared = a_run(tmp_path, "moons_i_cfm"), x.square().sum(1).mean().item()
    record_paths(run, flow_of(Turning(w), StandardNormal(2)), x, 1.0, 201, TIGHT)
    assert run.metrics["straightness"].value == pytest.approx(
        (w**2 - 2 + 2 * math.cos(w)) * squared, rel=1e-4
    )
    assert run.metrics["path_energy"].value == pytest.approx(w**2 * squared - 1, rel=1e-6)


def test_the_exact_velocity_reaches_the_yardstick(tmp_path: Path) -> None:
    variant, overrides = "8gaussians_fm_ot", {"compared": 400, "test_points": 500, "path_times": 51}
    run, field = a_run(tmp_path, variant, **overrides), Eight()
    evaluate(run, flow_of(field, StandardNormal(2)), TOY.configure(variant, "smoke", overrides))
    found = {key: m.value for key, m in run.metrics.items()}
    yardstick = found["wasserstein2[data against data]"]
    assert 0.5 * yardstick < found["wasserstein2"] < 1.5 * yardstick
    assert found["wasserstein2[euler-1]"] > 2.5 * yardstick  # one step knows no more than the mean
    for key, chance in (("mmd", 0), ("c2st", 50)):
        assert abs(found[key] - chance) < 4 * run.metrics[key].se  # type: ignore[operator]
    x = torch.tensor(toy2d.draw("8gaussians-cfm", 500, run.numpy_generator("likelihood")))
    expected = -field.target.log_prob(x.float()).mean().item()
    assert found["nll"] == pytest.approx(expected, abs=1e-3)
    # The field is not that of optimal transport: its energy is above, by more than the error of W2.
    assert found["path_energy"] > 0.05
    assert found["straightness"] > 0.1


# -- figures --------------------------------------------------------------------------------------------------


def test_figures_are_drawn_from_records(tmp_path: Path) -> None:
    runs = [
        perform(variant, tmp_path, seed)
        for variant, seed in (("checkerboard_fm_ot", 0), ("checkerboard_fm_vp", 0), ("moons_ot_cfm", 1))
    ]
    records = [Record(run.identity, "done", metrics=run.metrics, curves=run.curves) for run in runs]
    panels = {"samples": 3, "paths": 3, "few_steps": 2 * 3, "w2_against_nfe": 2, "training": 2}
    assert panels.keys() == TOY.figures.keys()
    for name, n in panels.items():
        draw = getattr(figures, name)
        assert draw([]) is None
        assert sum(ax.get_visible() for ax in draw(records).axes) == n
    assert figures.few_steps(records[2:]) is None
    board = figures.w2_against_nfe(records).axes[0]
    assert [line.get_label() for line in board.lines[:2]] == ["fm-ot", "fm-vp"]
    np.testing.assert_allclose(board.lines[0].get_xdata(), (1, 2))
