import dataclasses

import pytest
import torch

from replications.lecture.experiments.solvers.problems import (
    Decay,
    Forced,
    ForcedPrinted,
    Linear,
    Logistic,
    Oscillator,
    Problem,
    VanDerPol,
    random_linear,
    stiff_linear,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


PROBLEMS = (
    Decay(),
    Decay(rate=3.0),
    Forced(),
    Oscillator(),
    Logistic(),
    random_linear(4, generator()),
    stiff_linear(10.0),
)


def defect(problem: Problem) -> float:
    """Largest |h' - f(t, h)| over [0, t1] of what a problem calls its solution; h' by central differences."""
    times = torch.linspace(0.01, problem.t1, 50, dtype=torch.float64)
    step = 1e-4
    slope = (problem.exact(times + step) - problem.exact(times - step)) / (2 * step)
    field = torch.stack([problem(t, h) for t, h in zip(times, problem.exact(times), strict=True)])
    return float((slope - field).abs().max())


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_solution_solves_the_equation(problem: Problem) -> None:
    start = problem.exact(torch.zeros(1, dtype=torch.float64))[0]
    torch.testing.assert_close(start, problem.initial(), atol=1e-12, rtol=0)
    assert defect(problem) < 1e-5


def test_printed_formula_solves_another_equation() -> None:
    problem = ForcedPrinted()
    assert defect(problem) > 0.2
    times = torch.linspace(0, 5, 200, dtype=torch.float64)
    h = problem.exact(times)[:, 0]
    slope = (times.cos() + 2 * times.sin() - 4 * torch.exp(-2 * times)) / 5
    torch.testing.assert_close(slope + 2 * h, (4 * times.sin() - 3 * times.cos()) / 5, atol=1e-12, rtol=0)


def test_printed_formula_is_0_283_off() -> None:
    times = torch.linspace(0, 5, 200, dtype=torch.float64)
    distance = (ForcedPrinted().exact(times) - Forced().exact(times)).abs().max()
    assert float(distance) == pytest.approx(0.2829, abs=1e-4)


def test_random_system_is_stable_and_follows_its_generator() -> None:
    first, again, other = (
        random_linear(4, generator()),
        random_linear(4, generator()),
        random_linear(4, generator(1)),
    )
    assert torch.linalg.eigvals(first.matrix).real.max() < 0
    assert torch.equal(first.matrix, again.matrix)
    assert not torch.equal(first.matrix, other.matrix)
    assert float(first.start.norm()) == pytest.approx(1)


def test_stiff_system_has_the_stated_eigenvalues() -> None:
    problem = stiff_linear(1000.0)
    assert isinstance(problem, Linear)
    eigenvalues = torch.linalg.eigvals(problem.matrix).real.sort().values
    torch.testing.assert_close(eigenvalues, torch.tensor([-1000.0, -1.0], dtype=torch.float64))


def test_van_der_pol_keeps_its_energy_balance() -> None:
    """d/dt (h_1^2 + h_2^2)/2 = mu (1 - h_1^2) h_2^2, integrated by the trapezium rule."""
    problem = VanDerPol(mu=2.0)
    times = torch.linspace(0, problem.t1, 2001, dtype=torch.float64)
    h = problem.exact(times)
    power = problem.mu * (1 - h[:, 0] ** 2) * h[:, 1] ** 2
    energy = (h**2).sum(dim=1) / 2
    assert float(energy[-1] - energy[0]) == pytest.approx(float(torch.trapezoid(power, times)), abs=1e-5)


def test_problems_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Decay().rate = 2.0  # type: ignore[misc]
