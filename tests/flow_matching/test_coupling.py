"""Couplings of a batch against brute force, SciPy's own assignment and the definition of the entropic plan."""

import itertools
import sys

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from bench.errors import UserError
from replications.flow_matching.coupling import Entropic, assignment, exact, independent, squared_distances


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def cost(x0: Tensor, x1: Tensor) -> float:
    return (x0 - x1).square().sum().item()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [(7, 2), (6, 1, 2, 2)])
def test_exact_coupling_is_the_best_of_all_permutations(seed: int, shape: tuple[int, ...]) -> None:
    x0, x1 = normal(*shape, seed=2 * seed), 1 + normal(*shape, seed=2 * seed + 1)
    ours = exact(x0, x1, generator())
    best = min(itertools.permutations(range(len(x0))), key=lambda order: cost(x0[list(order)], x1))
    assert torch.equal(ours, x0[list(best)])
    assert cost(ours, x1) < cost(x0, x1)


@pytest.mark.parametrize(("n", "scale"), [(1, 1.0), (60, 1.0), (200, 1e-4), (200, 1e6)])
def test_shifted_costs_keep_the_assignment(n: int, scale: float) -> None:
    # Far apart points and clusters of points: potentials that are poor cost time, never the optimum.
    x1 = torch.where(torch.arange(n)[:, None] % 2 == 0, 40.0, -3.0) + normal(n, 2)
    costs = squared_distances(scale * x1, scale * normal(n, 2, seed=2))
    rows = np.arange(n)
    reference = linear_sum_assignment(costs)[1]
    ours = assignment(costs)
    assert sorted(ours) == list(rows)
    assert costs[rows, ours].sum() == pytest.approx(costs[rows, reference].sum(), rel=1e-12)


def test_ties_and_equal_points_are_assigned_too() -> None:
    assert sorted(assignment(np.zeros((5, 5)))) == list(range(5))
    x = normal(6, 2)
    assert torch.equal(exact(x[[3, 1, 0, 5, 4, 2]], x, generator()), x)


def test_distances_are_the_squared_euclidean() -> None:
    a, b = normal(4, 2, 3), normal(5, 2, 3, seed=2)
    expected = (a[:, None] - b).square().sum((2, 3)).numpy()
    np.testing.assert_allclose(squared_distances(a, b), expected, rtol=1e-12, atol=1e-12)


def test_independent_leaves_the_order() -> None:
    x0 = normal(4, 2)
    assert independent(x0, normal(4, 2, seed=2), generator()) is x0


def test_entropic_plan_is_the_one_of_its_first_order_condition() -> None:
    pytest.importorskip("ot")
    x0, x1, sigma = normal(40, 2), 1 + 0.5 * normal(40, 2, seed=2), 0.8
    plan = Entropic(sigma).plan(x0, x1)
    np.testing.assert_allclose(plan.sum(0), 1 / 40, rtol=1e-3)
    np.testing.assert_allclose(plan.sum(1), 1 / 40, rtol=1e-3)
    # log P = f_i + g_j - cost / (2 sigma^2): what is left without the cost has no interaction of row and column.
    rest = np.log(plan) + squared_distances(x0, x1) / (2 * sigma**2)
    interaction = rest - rest.mean(0) - rest.mean(1, keepdims=True) + rest.mean()
    np.testing.assert_allclose(interaction, 0, atol=1e-8)


def test_entropic_plan_with_small_sigma_goes_to_the_exact_one() -> None:
    pytest.importorskip("ot")
    x0 = 20 * normal(8, 2)
    x1 = x0.flip(0) + 0.1 * normal(8, 2, seed=2)  # others cost thousands, over an entropy of 0.5
    plan = Entropic(0.5).plan(x0, x1)
    assert np.array_equal(plan.argmax(0), assignment(squared_distances(x1, x0)))


def test_entropic_pairs_follow_the_plan() -> None:
    pytest.importorskip("ot")
    x0, x1 = normal(4, 2), normal(4, 2, seed=2)
    coupling, counts, draws = Entropic(0.7), np.zeros((4, 4)), 4000
    draw = generator()
    for _ in range(draws):
        chosen = coupling(x0, x1, draw)
        i = (chosen[:, None] == x0).all(2).int().argmax(1).numpy()
        counts[i, np.arange(4)] += 1
    plan = coupling.plan(x0, x1) * 4
    error = np.sqrt(plan * (1 - plan) / draws)
    assert (np.abs(counts / draws - plan) < 5 * error + 1e-5).all()
    assert torch.equal(coupling(x0, x1, generator(1)), coupling(x0, x1, generator(1)))


def test_faults_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="as many noises as data"):
        exact(normal(3, 2), normal(4, 2), generator())
    with pytest.raises(UserError, match="not finite"):
        exact(normal(3, 2) / 0, normal(3, 2), generator())
    with pytest.raises(UserError, match="positive sigma"):
        Entropic(0.0)
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(UserError, match=r"pip install cnf-bench\[flow-matching\]"):
        Entropic(1.0).plan(normal(3, 2), normal(3, 2))
