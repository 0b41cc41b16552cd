"""Free energy, KL divergence and densities of flows that stretch the plane; fresh points of a base density."""

import math

import pytest
import torch
from planted import Linear

from bench.data import energies2d
from replications.flows.density.cnf import CNF
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.ode.solve import Solver
from replications.neural_ode.experiments.planar_cnf.inverted import Inverted
from replications.neural_ode.experiments.planar_cnf.measured import density, excess, matched, midpoints
from replications.neural_ode.experiments.planar_cnf.targets import BasePoints, is_energy
from replications.tasks.splits import TestSet, TrainSet

A = 0.4
TIGHT = Integration(Solver(rtol=1e-9, atol=1e-9))
LOG_2PI = math.log(2 * math.pi)


class Streams:
    """Named streams."""

    def torch_generator(self, stream: str) -> torch.Generator:
        return torch.Generator().manual_seed(sum(stream.encode()))


def stretching() -> Inverted:
    """x = e^A z, so that q = N(0, e^(2 A) I)."""
    return Inverted(CNF(Linear(A), StandardNormal(2), TIGHT))


@pytest.fixture
def normal_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    """U = (|x - (1, 0)|^2) / 2, of N((1, 0), I) with Z = 2 pi."""
    monkeypatch.setitem(energies2d.ENERGIES, "energy1", lambda x, y, xp: ((x - 1) ** 2 + y**2) / 2)


def base(n: int = 4) -> torch.Tensor:
    return StandardNormal(2).sample(n, torch.Generator().manual_seed(3), torch.float64)


@pytest.mark.usefixtures("normal_energy")
def test_the_excess_is_the_log_density_plus_the_energy_at_the_image_of_each_point() -> None:
    z = base()
    x = math.exp(A) * z
    log_q = -LOG_2PI - z.square().sum(1) / 2 - 2 * A
    energy = ((x[:, 0] - 1) ** 2 + x[:, 1] ** 2) / 2
    torch.testing.assert_close(excess(stretching(), z, "energy1"), log_q + energy, rtol=1e-7, atol=1e-7)


@pytest.mark.usefixtures("normal_energy")
def test_the_divergence_of_a_normal_density_from_another_is_the_closed_form() -> None:
    """KL(N(0, s^2 I), N(m, I)) = s^2 - 1 - log s^2 + |m|^2 / 2 in the plane."""
    found = matched(stretching(), TestSet(base(40_000)), "energy1")
    exact = math.exp(2 * A) - 1 - 2 * A + 1 / 2
    se = found.kl.std().item() / 200
    assert se < 0.01
    assert found.kl.mean().item() == pytest.approx(exact, abs=4 * se)
    torch.testing.assert_close(found.kl - found.excess, torch.full_like(found.kl, LOG_2PI))
    assert found.kl.dtype == torch.float64


def test_the_evaluations_are_those_of_one_solve_and_training_points_are_refused() -> None:
    flow = Inverted(CNF(Linear(A), StandardNormal(2), Integration(Solver("midpoint", steps=5))))
    flow.counter.count(99)  # from before
    assert matched(flow, TestSet(base()), "energy1").nfe == 10
    with pytest.raises(TypeError, match="takes a TestSet"):
        matched(flow, TrainSet(base()), "energy1")  # type: ignore[arg-type]


def test_the_first_coordinate_of_a_density_is_the_first_index() -> None:
    axis = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)
    flow = CNF(Linear(torch.diag(torch.tensor([A, 0.0]))), StandardNormal(2), TIGHT)
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    exact = torch.exp(-LOG_2PI + A - (math.exp(2 * A) * x**2 + y**2) / 2)
    torch.testing.assert_close(density(flow, axis), exact, rtol=1e-7, atol=1e-9)


def test_the_middles_of_cells() -> None:
    assert midpoints(4.0, 4).tolist() == [-3.0, -1.0, 1.0, 3.0]


def test_base_points_of_batches_and_test_are_drawn_apart() -> None:
    points = BasePoints(Streams(), StandardNormal(2), "cpu")
    batches = [points.batch(i, 30) for i in (0, 1, 0)]
    test = points.test(30)
    assert isinstance(batches[0], TrainSet)
    assert isinstance(test, TestSet)
    assert torch.equal(batches[0].points, batches[2].points)
    drawn = {tuple(row) for part in (batches[0], batches[1], test) for row in part.points.tolist()}
    assert len(drawn) == 90
    assert torch.equal(batches[1].points, torch.randn(30, 2, generator=Streams().torch_generator("batch/1")))
    assert points.test(3).points.dtype == torch.float32


def test_energies_are_told_from_sets() -> None:
    assert [is_energy(name) for name in ("energy1", "energy3", "moons", "circles")] == [
        True,
        True,
        False,
        False,
    ]
