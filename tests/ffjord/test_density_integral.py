import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor, nn

from bench.execution.run import Run
from bench.identity import identify
from bench.metrics.catalogue import split_key
from bench.record import Record
from bench.registry import resolve
from replications.ffjord.experiments.density_integral import figures
from replications.ffjord.experiments.density_integral.declaration import DENSITY_INTEGRAL
from replications.ffjord.experiments.density_integral.run import (
    draw,
    integrate,
    ladder,
    log_density,
    map_mass,
    masses,
    trapezoid,
)
from replications.flows.density.cnf import CNF
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.fields.mlp import MlpField
from replications.flows.ode.solve import Solver

MEANS = (-2.8, -0.9, 2.0)


def tight(tolerance: float = 1e-10) -> Integration:
    return Integration(Solver(rtol=tolerance, atol=tolerance))


def line(reach: float, n: int = 2001) -> Tensor:
    return torch.linspace(-reach, reach, n, dtype=torch.float64)[:, None]


class Stretch(nn.Module):
    """f(x) = a x on the line: z = e^(a T) x. Its pushforward may be told a wrong slope."""

    def __init__(self, a: float, told: float | None = None) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))
        self.told = a if told is None else told

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.a * x

    def pushforward(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self.a * x, self.told * v


def normal_mass(reach: float) -> float:
    return math.erf(reach / math.sqrt(2))


def test_mass_of_a_stretched_normal_density() -> None:
    flow, reach = CNF(Stretch(-0.7), StandardNormal(1)), 2.0
    x = line(reach)
    log_p, _ = integrate(flow, x, tight(), len(x))
    expected = normal_mass(reach * math.exp(-0.7))
    assert map_mass(flow, x, tight()) == pytest.approx(expected, abs=1e-9)
    assert trapezoid(log_p.exp(), x) == pytest.approx(expected, abs=1e-6)


def test_a_wrong_divergence_moves_the_integral_and_not_the_mass_of_the_map() -> None:
    flow, x = CNF(Stretch(0.5, told=0.6), StandardNormal(1)), line(10.0)
    log_p, _ = integrate(flow, x, tight(), len(x))
    assert trapezoid(log_p.exp(), x) == pytest.approx(math.exp(0.1), abs=1e-8)
    assert map_mass(flow, x, tight()) == pytest.approx(1, abs=1e-12)


def bent() -> CNF:
    """A flow that bends the line, in float64."""
    field = MlpField(1, (16, 16), torch.Generator().manual_seed(2), "concatsquash").double()
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.mul_(4)
    return CNF(field, StandardNormal(1))


def test_the_integral_comes_as_near_to_one_as_the_tolerance() -> None:
    flow, x = bent(), line(12.0)
    errors = [
        abs(trapezoid(integrate(flow, x, tight(tol), len(x))[0].exp(), x) - map_mass(flow, x, tight()))
        for tol in (1e-2, 1e-4, 1e-6, 1e-8)
    ]
    assert errors[0] > 1e-5  # there is something to get wrong
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))
    assert errors[-1] < 1e-7


def test_points_apart_and_together_have_one_density() -> None:
    flow, x = bent(), line(12.0, 60)
    together, _ = integrate(flow, x, tight(), len(x))
    apart, nfe = integrate(flow, x, tight(), 7)
    torch.testing.assert_close(apart, together, rtol=1e-7, atol=1e-7)
    assert nfe > 0


def test_density_and_points_are_of_one_mixture() -> None:
    x = line(12.0, 4001)
    p = log_density(MEANS, x).exp()
    assert trapezoid(p, x) == pytest.approx(1, abs=1e-12)
    points = draw(MEANS, 100_000, np.random.default_rng(0))
    for power in (1, 2):
        moments = points[:, 0] ** power
        exact = trapezoid(p * x[:, 0] ** power, x)
        assert abs(moments.mean() - exact) < 4 * moments.std() / 100_000**0.5
    assert np.array_equal(points, draw(MEANS, 100_000, np.random.default_rng(0)))
    assert not np.array_equal(points, draw(MEANS, 100_000, np.random.default_rng(1)))


def perform(variant: str, folder: Path, seed: int = 0) -> Run:
    run = Run(identify(DENSITY_INTEGRAL, variant, "smoke", seed), folder)
    resolve(DENSITY_INTEGRAL.run)(run, DENSITY_INTEGRAL.configure(variant, "smoke"))
    return run


def test_float32_leaves_out_what_it_can_not_reach(tmp_path: Path) -> None:
    run = Run(identify(DENSITY_INTEGRAL, "published", "smoke", 0), tmp_path)
    config = DENSITY_INTEGRAL.configure("published", "smoke")
    config = dataclasses.replace(config, tolerances=(1e-2, 1e-8), max_nfe=100)
    ladder(run, bent().float(), line(12.0, 50).float(), config, "rule")
    assert set(run.metrics) == {"mass_error[0.01, float32]", "nfe[0.01, float32]"}
    assert run.curves["nfe/tolerance[float32]"].x == (1e-2,)


def test_divergence_and_masses_of_a_stretched_normal_density(tmp_path: Path) -> None:
    """The flow is N(0, e^2): its divergence from the mixture, and what lies outside [-8, 8], are integrals."""
    run = Run(identify(DENSITY_INTEGRAL, "published", "smoke", 0), tmp_path)
    config = dataclasses.replace(
        DENSITY_INTEGRAL.configure("published", "smoke"), reach=8.0, points=801, small_batch=7
    )
    masses(run, CNF(Stretch(-1.0), StandardNormal(1)).float(), config)
    found = {key: measured.value for key, measured in run.metrics.items()}
    parts, flow = [norm(m, 0.4**0.5) for m in MEANS], norm(0, math.e)

    def integrand(x: float) -> float:
        p = sum(part.pdf(x) for part in parts) / 3
        return float(p * (math.log(p) - flow.logpdf(x)))

    kl = quad(integrand, -8, 8, points=MEANS, epsabs=1e-10)[0]
    assert found["kl"] == pytest.approx(kl, rel=1e-4)
    outside = 2 * flow.sf(8)
    assert outside > 1e-3
    assert found["mass_error[ends]"] == pytest.approx(outside, rel=1e-4)
    # The integral misses what is outside too; the trapezoidal rule is far more accurate.
    assert found["mass_error[1e-05]"] == pytest.approx(outside, abs=2e-5)
    assert found["mass_error[1e-05, 7 at a time]"] == pytest.approx(outside, abs=2e-5)
    assert found["mass_error[rule]"] < 1e-4
    densities = {name: np.array(run.curves[f"density[{name}]"].y) for name in ("learned", "data")}
    x = np.array(run.curves["density[data]"].x)
    np.testing.assert_allclose(densities["learned"], flow.pdf(x), rtol=1e-4)
    np.testing.assert_allclose(densities["data"], sum(part.pdf(x) for part in parts) / 3, rtol=1e-9)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """One run of each variant."""
    return {v: perform(v, tmp_path_factory.mktemp(v)) for v in DENSITY_INTEGRAL.variants}


def test_every_reported_metric_is_declared(runs: dict[str, Run]) -> None:
    reported = {split_key(key)[0] for run in runs.values() for key in run.metrics}
    assert reported == set(DENSITY_INTEGRAL.metrics)
    assert {v for v, run in runs.items() if "end_time" in run.metrics} == {"learned_T"}


def test_runs_are_paired_and_repeat(runs: dict[str, Run], tmp_path: Path) -> None:
    def untimed(run: Run) -> dict[str, float]:
        return {k: m.value for k, m in run.metrics.items() if "time" not in k and "overhead" not in k}

    assert untimed(runs["published"]) == untimed(perform("published", tmp_path))
    assert untimed(runs["published"]) != untimed(perform("published", tmp_path, seed=1))
    first = {variant: run.curves["loss"].y[0] for variant, run in runs.items()}
    assert first["five"] != first["five_steer"]  # another end time, the same points and weights


def test_published_setting_is_that_of_the_authors_code() -> None:
    config = DENSITY_INTEGRAL.configure("published", "paper")
    assert (config.iterations, config.batch, config.learning_rate, config.weight_decay) == (
        10_000,
        100,
        1e-3,
        1e-5,
    )
    assert (config.T, config.learn_T, config.hidden, config.rtol) == (0.5, False, (64, 64, 64), 1e-5)


def test_figures_draw_what_there_is_and_nothing_else(runs: dict[str, Run]) -> None:
    records = [Record(r.identity, "done", metrics=r.metrics, curves=r.curves) for r in runs.values()]
    assert [len(ax.lines) for ax in figures.mass(records).axes] == [11, 10]
    assert [len(ax.lines) for ax in figures.densities(records).axes] == [2] * 5
    assert figures.mass([]) is None
    assert figures.densities([]) is None
