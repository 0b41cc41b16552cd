"""Yardsticks against closed forms."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from bench.errors import UserError
from bench.execution.run import Run
from bench.identity import Identity
from replications.suite import yardsticks
from replications.suite.config import SuiteConfig
from replications.suite.data import Task, task
from replications.suite.measured import scores
from replications.tasks.splits import held_out

POINTS = torch.tensor(
    np.random.default_rng(0).normal(size=(400, 2)) @ [[2.0, 0.0], [1.0, 0.5]] + [1.0, -1.0]
).float()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Identity("suite.density2d", "only", "smoke", 0, 1, {}, {}), tmp_path)


@pytest.fixture
def gaussians(run: Run) -> Task:
    return task(run, SuiteConfig(data="8gaussians", pool=1000, validation_points=200))


def test_the_normal_law_is_the_maximum_of_the_likelihood() -> None:
    law = yardsticks.Gaussian(POINTS)
    x = POINTS.double().numpy()
    expected = stats.multivariate_normal(x.mean(0), np.cov(x.T, ddof=0)).logpdf(x[:5])
    assert law.log_prob(POINTS[:5]).numpy() == pytest.approx(expected)
    drawn = law.sample(20_000, torch.Generator().manual_seed(0)).double().numpy()
    assert drawn.mean(0) == pytest.approx(x.mean(0), abs=0.08)
    assert np.cov(drawn.T) == pytest.approx(np.cov(x.T), rel=0.08)


def test_kernels_are_the_mean_of_normal_laws() -> None:
    law = yardsticks.Kernels(POINTS[:50], 0.3)
    centres, x = POINTS[:50].double().numpy(), POINTS[60:63].double().numpy()
    density = [np.mean([stats.multivariate_normal(c, 0.09).pdf(point) for c in centres]) for point in x]
    assert law.log_prob(POINTS[60:63]).numpy() == pytest.approx(np.log(density))
    drawn = law.sample(20_000, torch.Generator().manual_seed(0)).double()
    assert drawn.var(0, correction=0).numpy() == pytest.approx(centres.var(0) + 0.09, rel=0.05)


def test_a_mixture_of_one_is_the_normal_law() -> None:
    one, law = yardsticks.Mixture(POINTS, 1, 0), yardsticks.Gaussian(POINTS)
    assert one.log_prob(POINTS[:9]).numpy() == pytest.approx(law.log_prob(POINTS[:9]).numpy(), abs=1e-3)


def test_a_mixtures_samples_are_of_its_density() -> None:
    corners = torch.tensor([[-3.0, 0.0], [3.0, 0.0], [3.0, 1.0]])
    points = corners.repeat(200, 1) + 0.1 * torch.randn(600, 2, generator=torch.Generator().manual_seed(0))
    law = yardsticks.Mixture(points, 3, 0)
    drawn = law.sample(3000, torch.Generator().manual_seed(0))
    left = drawn[:, 0] < 0
    assert left.double().mean().item() == pytest.approx(1 / 3, abs=0.03)
    assert drawn[left].std(0).tolist() == pytest.approx([0.1, 0.1], rel=0.1)


def test_validation_chooses_the_best(run: Run, gaussians: Task) -> None:
    chosen = yardsticks.fitted(run, "mixture", gaussians)
    assert isinstance(chosen, yardsticks.Mixture)
    assert chosen.law.n_components == 8
    widths = [yardsticks.Kernels(POINTS[:50], h) for h in (1e-3, 0.5, 30.0)]
    assert yardsticks.best(list(widths), POINTS[60:]) is widths[1]


def test_the_truth_has_no_excess(gaussians: Task) -> None:
    law, x = yardsticks.Truth(gaussians), held_out(gaussians.test(50, "test"))
    excess = scores(law, x, gaussians.log_density).excess
    assert excess is not None
    assert excess.abs().max().item() == 0
    drawn = law.sample(50, torch.Generator().manual_seed(1))
    assert not torch.equal(drawn, x)


def test_a_truth_that_is_not_known_is_refused(run: Run) -> None:
    from bench.data.toy2d import SETS
    from replications.tasks.density2d.densities import DENSITIES

    unknown = next(name for name in SETS if name not in DENSITIES)
    with pytest.raises(UserError, match="not known"):
        yardsticks.Truth(task(run, SuiteConfig(data=unknown)))


def test_the_spline_is_a_density_that_its_samples_are_of() -> None:
    pytest.importorskip("zuko", reason="zuko is not installed: pip install cnf-bench[peers]")
    before = torch.get_rng_state()
    law = yardsticks.Spline(2, 8, torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())
    axis = torch.linspace(-6, 6, 121)
    with torch.no_grad():
        mass = law.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * 0.01
    assert mass.item() == pytest.approx(1, abs=0.01)
    drawn = law.sample(2000, torch.Generator().manual_seed(0))
    again = law.sample(2000, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)
    same = yardsticks.Spline(2, 8, torch.Generator().manual_seed(0))
    assert torch.equal(law.log_prob(drawn), same.log_prob(drawn))
