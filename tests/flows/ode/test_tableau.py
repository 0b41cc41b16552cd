"""Every method satisfies the conditions of its order exactly, one for each rooted tree, and equals torchdiffeq's.

For a tree t of n vertices with the subtrees t_1...t_m at its root: |t| = 1 + sum |t_i|, gamma(t) = |t| prod gamma(t_i),
and the stage weights of its root are Phi_i(t) = prod_k sum_j a_ij Phi_j(t_k). A method of order p has
sum_i b_i Phi_i(t) = 1 / gamma(t) for all trees of at most p vertices (hairer1993solving, II.2).
"""

import functools
import math
from fractions import Fraction

import pytest
import torch
from torchdiffeq import odeint

from replications.flows.ode.solver import ADAPTIVE, ONE_STEP
from replications.flows.ode.tableau import METHODS, Exact, tableau

Tree = tuple
EMBEDDED = {"adaptive_heun": 1, "fehlberg2": 1, "bosh3": 2, "dopri5": 4, "dopri8": 7}
COUNTS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 9, 6: 20, 7: 48, 8: 115}


@functools.cache
def trees(n: int) -> tuple[Tree, ...]:
    """Return all rooted trees of n vertices, each a sorted tuple of its subtrees."""
    if n == 1:
        return ((),)
    found = set()
    for k in range(1, n):
        for sub in trees(k):
            for rest in trees(n - k):
                found.add(tuple(sorted((*rest, sub))))
    return tuple(sorted(found))


def size(tree: Tree) -> int:
    return 1 + sum(map(size, tree))


def gamma(tree: Tree) -> int:
    return size(tree) * math.prod(map(gamma, tree))


def weights(tree: Tree, stages: tuple) -> list:
    parts = [weights(sub, stages) for sub in tree]
    return [math.prod(sum(a * w for a, w in zip(row, part)) for part in parts) for row in stages]


def defect(exact: Exact, b: tuple, tree: Tree) -> Fraction | float:
    return abs(sum(x * w for x, w in zip(b, weights(tree, exact.stages))) - Fraction(1, gamma(tree)))


def in_floats(exact: Exact) -> Exact:
    stages = tuple(tuple(map(float, row)) for row in exact.stages)
    return Exact(exact.order, stages, tuple(map(float, exact.weights)), tuple(map(float, exact.embedded)))  # type: ignore[arg-type]


def test_there_are_as_many_trees_as_known() -> None:
    assert {n: len(trees(n)) for n in COUNTS} == COUNTS


@pytest.mark.parametrize("method", METHODS)
def test_the_order_conditions_hold_up_to_the_order_and_no_further(method: str) -> None:
    rational = method == "dopri8"  # its published coefficients are rational approximations
    exact = in_floats(METHODS[method]) if rational else METHODS[method]
    rounding = 1e-13 if rational else 0
    for n in range(1, exact.order + 1):
        assert all(defect(exact, exact.weights, tree) <= rounding for tree in trees(n)), n
    beyond = trees(exact.order + 1)
    assert any(defect(exact, exact.weights, tree) > 1e-6 for tree in beyond)


@pytest.mark.parametrize("method", ADAPTIVE)
def test_the_embedded_method_is_of_its_own_lower_order(method: str) -> None:
    exact = in_floats(METHODS[method])
    for n in range(1, EMBEDDED[method] + 1):
        assert all(defect(exact, exact.embedded, tree) <= 1e-12 for tree in trees(n)), n
    assert any(defect(exact, exact.embedded, tree) > 1e-7 for tree in trees(EMBEDDED[method] + 1))


def one_step(method: str) -> tuple[list[float], list[list[float]], list[float]]:
    """Read nodes, rows and weights off a step of torchdiffeq from 0 to 1: the i-th slope is the unit vector e_i."""
    nodes, rows = [], []
    units = torch.eye(20, dtype=torch.float64)

    def answer(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        nodes.append(float(t))
        rows.append(y.tolist()[: len(rows)])
        return units[len(rows) - 1]

    times = torch.tensor([0.0, 1.0], dtype=torch.float64)
    options = {"first_step": 1.0, "step_t": times[1:]} if method in ADAPTIVE else {}
    end = odeint(answer, 0 * units[0], times, method=method, rtol=1e9, atol=1e9, options=options)[-1]
    return nodes, rows, end.tolist()[: len(rows)]


@pytest.mark.parametrize("method", [*ONE_STEP, *ADAPTIVE])
def test_nodes_rows_and_weights_are_torchdiffeqs(method: str) -> None:
    ours, (nodes, rows, weights) = tableau(method), one_step(method)
    count = len(ours.nodes)
    assert ours.nodes == pytest.approx(nodes[:count], abs=1e-15)
    for mine, theirs in zip(ours.stages, rows, strict=False):
        assert [*mine, *[0.0] * (len(theirs) - len(mine))] == pytest.approx(theirs, rel=1e-14, abs=1e-15)
    assert ours.weights == pytest.approx(weights[:count], rel=1e-14, abs=1e-15)


def test_which_slopes_serve_the_next_step() -> None:
    found = {method: (tableau(method).fsal, tableau(method).hands_over) for method in ADAPTIVE}
    assert found == {
        "dopri5": (True, False),
        "dopri8": (True, False),
        "bosh3": (True, False),
        "fehlberg2": (False, True),
        "adaptive_heun": (False, True),
    }
    assert len(tableau("dopri5").needed) == 6
    assert len(tableau("fehlberg2").needed) == 3
