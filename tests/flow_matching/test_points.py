"""What is measured of flows of points, on velocities known in closed form."""

import math

import numpy as np
import pytest
import torch
from planted_velocities import Fixed, Growing, Turning, normal
from torch import Tensor, nn

from bench.metrics.classification import c2st
from bench.metrics.transport import mmd, sliced_wasserstein2
from replications.flow_matching import points
from replications.flow_matching.model import flow_of
from replications.flows.density.cnf import CNF
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.ode.solver import Solver

TIGHT = Solver(rtol=1e-9, atol=1e-9)
C = torch.tensor([3.0, -4.0], dtype=torch.float64)


def flow(velocity: torch.nn.Module) -> CNF:
    return flow_of(velocity, StandardNormal(2))


def test_w2_of_a_shifted_sample_is_the_shift() -> None:
    x = normal(30)
    assert points.w2(x[torch.randperm(30)] + C, x) == pytest.approx(5.0)


def test_each_distance_is_its_own() -> None:
    x, y = normal(60), normal(60, seed=1) + 0.5
    found = points.distances(x, y, np.random.default_rng(1), np.random.default_rng(2))
    assert found.wasserstein2 == pytest.approx(points.w2(x, y))
    sliced = sliced_wasserstein2(x.numpy(), y.numpy(), np.random.default_rng(1))
    assert found.sliced_wasserstein2 == pytest.approx(sliced)
    assert sliced < found.wasserstein2
    assert (found.mmd, found.mmd_se) == pytest.approx(mmd(x.numpy(), y.numpy()))
    assert (found.c2st, found.c2st_se) == c2st(x.numpy(), y.numpy(), np.random.default_rng(2))
    assert found.c2st != c2st(x.numpy(), y.numpy(), np.random.default_rng(1))[0]


def test_a_classifier_tells_samples_of_another_law_and_not_those_of_the_same() -> None:
    x, y = normal(200), normal(200, seed=1)
    same, other = (
        points.distances(samples, y, np.random.default_rng(1), np.random.default_rng(2)).c2st
        for samples in (x, x + 6)
    )
    assert abs(same - 50) < 15
    assert other > 95


@pytest.mark.parametrize(("method", "nfe"), [("euler", 6), ("midpoint", 12), ("rk4", 24)])
def test_samples_are_decoded_and_their_evaluations_are_those_of_one_solve(method: str, nfe: int) -> None:
    """The timed solves that follow, and what was solved before, are not counted."""
    base, trained = normal(5), flow(Fixed(C))
    trained.decode(base)
    found = points.sampled(trained, base, points.equal_steps(method, 6), repeats=3)
    assert found.nfe == nfe
    torch.testing.assert_close(found.points, base + C)
    assert found.inversion.max() < 1e-6  # a shift inverts
    assert found.seconds > 0


def test_a_solve_that_does_not_invert_is_seen() -> None:
    """One Euler step of dx/dt = a x, T = 1, and one back: z (1 + a)(1 - a), wherever the time runs."""

    class Linear(nn.Module):
        def forward(self, t: Tensor, x: Tensor) -> Tensor:
            return 0.5 * x

    base = normal(5)
    found = points.sampled(flow(Linear()), base, points.equal_steps("euler", 1), repeats=1)
    torch.testing.assert_close(found.inversion, 0.25 * base.double().norm(dim=1), rtol=1e-5, atol=1e-6)


def test_a_time_is_the_median_of_as_many_solves_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    trained, seconds, solves = flow(Fixed(C)), [0.0], iter((9.0, 9.0, 1.0, 8.0, 2.0))
    decode = trained.decode

    def slow(z: Tensor, integration: Integration) -> Tensor:
        """The first solve gives the samples, the second warms up."""
        seconds[0] += next(solves)
        return decode(z, integration)

    monkeypatch.setattr(trained, "decode", slow)
    monkeypatch.setattr("bench.measure.clock.time.perf_counter", lambda: seconds[0])
    assert points.sampled(trained, normal(5), points.equal_steps("euler", 1), repeats=3).seconds == 2.0


def test_few_steps_give_their_own_samples_evaluations_and_distances() -> None:
    """n steps of Euler make (1 + a/n)^n of x, of the midpoint rule (1 + a/n + a^2/(2 n^2))^n."""
    a, base = 0.8, normal(20)
    data = math.exp(a) * base
    trained = flow(Growing(a))
    euler = points.by_few_steps(trained, base, data, "euler", (1, 4))
    midpoint = points.by_few_steps(trained, base, data, "midpoint", (1, 4))
    for found, n, factor, nfe in (
        (euler[0], 1, 1 + a, 1),
        (euler[1], 4, (1 + a / 4) ** 4, 4),
        (midpoint[0], 1, 1 + a + a**2 / 2, 2),
        (midpoint[1], 4, (1 + a / 4 + a**2 / 32) ** 4, 8),
    ):
        assert found.nfe == nfe, n
        torch.testing.assert_close(found.points, factor * base)
        assert found.wasserstein2 == pytest.approx(points.w2(factor * base, data))
    assert points.by_few_steps(trained, base, data, "euler", ()) == []


def test_a_translation_is_straight_and_optimal() -> None:
    base = normal(50)
    found = points.paths(flow(Fixed(C)), base, 5.0, 11, TIGHT)
    assert found.straightness < 1e-20
    assert found.energy < 1e-12
    assert found.states.shape == (11, 50, 2)
    times = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(found.states, base + times * C)


def test_a_rotation_has_its_straightness_and_energy() -> None:
    """E abs(x(1) - x(0) - v)^2 = (w^2 - 2 + 2 cos w) E abs(x)^2, and E abs(v)^2 = w^2 E abs(x)^2, over t as well."""
    w, x = 1.2, normal(50)
    squared: Tensor = x.square().sum(1)
    found = points.paths(flow(Turning(w)), x, 1.0, 201, TIGHT)
    factor = w**2 - 2 + 2 * math.cos(w)
    assert found.straightness == pytest.approx(factor * squared.mean().item(), rel=1e-4)
    assert found.straightness_se == pytest.approx(factor * squared.std().item() / 50**0.5, rel=1e-3)
    assert found.energy == pytest.approx(w**2 * squared.mean().item() - 1, rel=1e-6)
    assert found.energy_se == pytest.approx(w**2 * squared.std().item() / 50**0.5, rel=1e-5)


def test_the_energy_is_in_units_of_the_distance() -> None:
    found = points.paths(flow(Fixed(C)), normal(50), 4.0, 11, TIGHT)
    assert found.energy == pytest.approx((25 - 16) / 16)


def test_equal_steps_are_as_many_as_asked_for() -> None:
    assert points.equal_steps("midpoint", 3) == Integration(Solver("midpoint", steps=3))
