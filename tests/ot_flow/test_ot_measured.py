"""What is measured of an OT-Flow, on flows known in closed form."""

import itertools
import math

import pytest
import torch
from planted_potentials import contraction, growth, normal, translation
from torch import Tensor

from replications.ot_flow import measured
from replications.ot_flow.config import OTFlowConfig
from replications.ot_flow.measured import costs_of, evaluated, generated, rounding_error
from replications.ot_flow.method import costs, rk4

A = 0.7


def kernel(x: Tensor, y: Tensor) -> float:
    return math.exp(-(x - y).square().sum().item())


def test_the_terms_of_a_contraction_are_its_closed_forms() -> None:
    x, shrunk = normal(9, 2), math.exp(-A)
    squared = x.square().sum(1)
    ours = costs_of(contraction(A), x, 64, batch=4)
    L = A * squared * (1 - shrunk**2) / 4  # the integral of a^2 |x|^2 e^(-2 a t) / 2
    torch.testing.assert_close(ours.L, L, rtol=1e-7, atol=0)
    torch.testing.assert_close(ours.R, L, rtol=1e-7, atol=0)  # Phi does not depend on t
    C = 0.5 * shrunk**2 * squared + math.log(2 * math.pi) + 2 * A
    torch.testing.assert_close(ours.C, C, rtol=1e-7, atol=0)
    torch.testing.assert_close(ours.straightness, 2 * L - (1 - shrunk) ** 2 * squared, rtol=1e-5, atol=0)


def test_a_weighted_objective_takes_each_term_once() -> None:
    config, terms = OTFlowConfig(alpha_C=3.0, alpha_R=0.5), costs(contraction(A), normal(5, 2), rk4(4))
    expected = terms.L.mean() + 3 * terms.C.mean() + 0.5 * terms.R.mean()
    torch.testing.assert_close(terms.weighted(config), expected)


def test_evaluations_are_those_of_a_solve_and_seconds_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, x, clock = contraction(A), normal(7, 2), itertools.count(10.0, 2.5)
    flow.encode(x)  # evaluations of before are not counted
    found = evaluated(flow, x, 6, batch=3, clock=lambda: next(clock))
    assert found.nfe == 4 * 6  # in each of three solves
    assert found.seconds == 2.5
    assert found.costs.L.shape == (7,)
    assert found.dim == 2


def test_its_likelihood_is_that_of_c() -> None:
    x = normal(6, 2)
    found = evaluated(translation(torch.tensor([0.5, -1.0], dtype=torch.float64)), x, 2)
    moved = x + torch.tensor([0.5, -1.0], dtype=torch.float64)
    log_p = -0.5 * moved.square().sum(1) - math.log(2 * math.pi)
    torch.testing.assert_close(found.likelihood.log_prob, log_p)
    assert found.likelihood.nll == pytest.approx(-log_p.mean().item())
    assert found.likelihood.se == pytest.approx(log_p.std().item() / 6**0.5)
    assert (found.likelihood.nfe, found.likelihood.dim) == (8, 2)


def test_there_and_back_by_one_step_is_its_closed_form() -> None:
    x, draws = normal(9, 2), torch.Generator().manual_seed(3)
    found = generated(contraction(A), x, rk4(1), 5, draws, batch=4)
    off = abs(growth(-A) * growth(A) - 1)
    assert off > 1e-3
    torch.testing.assert_close(found.inversion, off * x.norm(dim=1))


def test_generated_points_are_decoded_draws_of_the_base() -> None:
    x = normal(9, 2)
    found = generated(contraction(A), x, rk4(1), 5, torch.Generator().manual_seed(3), batch=2)
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.testing.assert_close(found.samples, growth(A) * z)
    few = generated(contraction(A), x, rk4(1), 100, torch.Generator().manual_seed(3))
    assert len(few.samples) == 9  # as many as there are test points


def test_the_mmd_is_that_of_the_papers_kernel_with_and_without_equal_pairs() -> None:
    n, x = 6, normal(9, 2)
    found = generated(contraction(A), x, rk4(1), n, torch.Generator().manual_seed(3))
    ours, theirs = found.samples, x[:n]
    h = [
        kernel(ours[i], ours[j])
        + kernel(theirs[i], theirs[j])
        - kernel(ours[i], theirs[j])
        - kernel(ours[j], theirs[i])
        for i in range(n)
        for j in range(n)
        if i != j
    ]
    assert found.mmd == pytest.approx(sum(h) / (n * (n - 1)))
    pairs = list(itertools.product(range(n), repeat=2))
    biased = sum(
        kernel(ours[i], ours[j]) + kernel(theirs[i], theirs[j]) - 2 * kernel(ours[i], theirs[j])
        for i, j in pairs
    )
    assert found.biased == pytest.approx(biased / n**2)
    assert found.se > 0


def test_samples_of_the_data_itself_are_told_from_samples_of_another_law() -> None:
    """The base density of the contraction's data is N(0, e^2a): with N(0, 1) for data its samples are too wide."""
    x = normal(400, 2, seed=8)
    wide = generated(contraction(1.2), x, rk4(8), 400, torch.Generator().manual_seed(3))
    still = generated(
        translation(torch.zeros(2, dtype=torch.float64)), x, rk4(1), 400, torch.Generator().manual_seed(3)
    )
    assert wide.mmd > 10 * wide.se
    assert abs(still.mmd) < 4 * still.se


def test_rounding_is_float32_less_float64_by_the_same_steps() -> None:
    flow, x = contraction(A).float(), 30 * normal(6, 2).float()
    found = rounding_error(flow, x, rk4(3))
    assert found.dtype == torch.float64
    single = flow.log_prob(x, integration=rk4(3)).double()
    double = contraction(A).float().double().log_prob(x.double(), integration=rk4(3))
    torch.testing.assert_close(found, single - double, rtol=1e-6, atol=0)
    assert 1e-6 < found.abs().max() < 1e-2
    assert next(flow.parameters()).dtype == torch.float32


def test_the_kernel_is_the_papers() -> None:
    assert pytest.approx(1) == 2 * measured.SIGMA**2
