"""What is measured of a trained method, on flows with known answers."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from replications.flow_matching.method import METHODS
from replications.flow_matching.model import flow_of
from replications.flows.density.cnf import CNF
from replications.flows.density.priors import IsotropicNormal, StandardNormal
from replications.suite import measured
from replications.suite.methods import TEST, ByMatching, build
from replications.suite.training import step
from replications.tasks.mixtures.law import mixture
from replications.tasks.mixtures.marginal import velocity


class Linear(nn.Module):
    """dx/dt = A x + c."""

    def __init__(self, A: list[list[float]], c: float = 0.0) -> None:
        super().__init__()
        self.A, self.c = nn.Parameter(torch.tensor(A)), c

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return x @ self.A.T + self.c


def flow(A: list[list[float]], c: float = 0.0, T: float = 1.0) -> CNF:
    return CNF(Linear(A, c), StandardNormal(2), T=T)


ZERO = [[0.0, 0.0], [0.0, 0.0]]
X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("T", [1.0, 2.0])
def test_straight_and_even_paths_have_no_detour(T: float) -> None:
    assert measured.detour(flow(ZERO, c=1.0, T=T), X, TEST, T) == pytest.approx(1, rel=1e-5)


def test_the_detour_of_a_half_turn_is_the_square_of_half_pi() -> None:
    turn = [[0.0, -math.pi], [math.pi, 0.0]]
    assert measured.detour(flow(turn), X, TEST, 1.0) == pytest.approx((math.pi / 2) ** 2, rel=1e-3)


def test_the_trace_estimate_is_exact_for_a_diagonal_and_has_known_variance_else() -> None:
    diagonal, mixed = [[0.5, 0.0], [0.0, -0.2]], [[0.0, 0.3], [0.3, 0.0]]
    assert measured.trace_error(flow(diagonal), X, TEST, torch.Generator().manual_seed(0)) < 1e-5
    # eps^T A eps = 2 * 0.3 eps_1 eps_2: variance 0.36 of a point, of the mean over 200 points 0.36 / 200
    errors = [
        measured.trace_error(flow(mixed), X, TEST, torch.Generator().manual_seed(seed)) for seed in range(10)
    ]
    root_mean_square = math.sqrt(np.mean(np.square(errors)))
    assert root_mean_square == pytest.approx(math.sqrt(0.36 / 200), rel=0.35)


def test_scores_are_of_each_point_and_their_excess_is_over_the_truth() -> None:
    model = flow(ZERO)
    found = measured.scores(model, X, lambda x: -0.5 * (x**2).sum(1) - math.log(2 * math.pi) + 0.25, batch=64)
    assert found.log_p.numpy() == pytest.approx(StandardNormal(2).log_prob(X).numpy(), abs=1e-5)
    assert found.excess is not None
    assert found.excess.numpy() == pytest.approx(0.25, abs=1e-5)
    assert measured.scores(model, X, None).excess is None


def test_samples_of_the_law_are_at_no_distance_and_others_are() -> None:
    rng = np.random.default_rng(0)
    draws = [torch.tensor(rng.normal(size=(10, 100, 2))) for _ in range(2)]
    same = measured.compared(*draws, np.random.default_rng(0), 1000)
    apart = measured.compared(draws[0] + 2.0, draws[1], np.random.default_rng(0), 1000)
    assert same.w2_se is not None
    assert abs(same.w2) < 4 * same.w2_se
    assert apart.w2 == pytest.approx(8.0, rel=0.1)  # a shift by (2, 2)
    assert same.floor == apart.floor > 0
    assert apart.mmd > 0.1 > abs(same.mmd)
    assert apart.c2st > 85 > 60 > same.c2st


def test_mmd_and_classifier_take_the_first_points_alone() -> None:
    rng = np.random.default_rng(0)
    x, y = (torch.tensor(rng.normal(size=(4, 100, 2))) for _ in range(2))
    few = measured.compared(x, y, np.random.default_rng(0), 100)
    far = x.clone()
    far[1:] += 50.0
    assert measured.compared(far, y, np.random.default_rng(0), 100)[3:] == few[3:]


def test_work_falls_in_error_as_the_steps_grow() -> None:
    turn = flow([[0.3, -1.0], [1.0, 0.3]])
    exact = -turn.log_prob(X.double().float()).double().mean().item()
    base, data = torch.randn(2, 4, 50, 2, generator=torch.Generator().manual_seed(1))
    for method, integrations in measured.ladder(TEST).items():
        found = measured.work(turn, X, base, data, integrations, exact)
        assert len(found) == len(measured.LADDER.get(method, measured.TOLERANCES))
        assert found[0].nll_error > 10 * found[-1].nll_error
        assert found[0].nfe < found[-1].nfe
    euler = measured.work(turn, X, base, data, measured.ladder(TEST)["euler"], exact)
    assert [point.nfe for point in euler] == list(measured.LADDER["euler"])


def matched(velocity: nn.Module) -> ByMatching:
    method = METHODS["fm-ot"]()
    return ByMatching(flow_of(velocity, IsotropicNormal(2, 1.0), method.path.times), method)


class Known(nn.Module):
    """The marginal field of a mixture, times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        path = METHODS["fm-ot"]().path
        return self.factor * velocity(mixture(2), path.coefficients, t, x.double(), 1.0)


def test_the_error_of_a_field_is_relative_to_the_known_one() -> None:
    x = torch.tensor(mixture(2).draw(200, np.random.default_rng(0)))
    errors = [
        measured.field_error(matched(Known(factor)), mixture(2), x, torch.Generator().manual_seed(0))
        for factor in (1.0, 1.5, 0.0)
    ]
    assert errors == pytest.approx([0, 0.25, 1], abs=1e-9)


def test_a_field_of_another_coupling_or_training_has_no_known_one() -> None:
    x = torch.tensor(mixture(2).draw(20, np.random.default_rng(0)))
    generator = torch.Generator().manual_seed(0)
    for name in ("ot_cfm", "fm_finetuned"):
        model = build(name, 2, 8, 1.0, generator)
        assert measured.field_error(model, mixture(2), x.float(), generator) is None


def test_matching_brings_the_field_closer_to_the_known_one() -> None:
    law, generator = mixture(2), torch.Generator().manual_seed(0)
    model = build("fm_ot", 2, 32, 0.0, generator)
    rng = np.random.default_rng(1)
    x = torch.tensor(law.draw(500, rng)).float()

    def error() -> float:
        found = measured.field_error(model, law, x, torch.Generator().manual_seed(0))
        assert found is not None
        return found

    before = error()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        step(model, optimizer, torch.tensor(law.draw(128, rng)).float(), generator)
    assert error() < 0.5 * before
