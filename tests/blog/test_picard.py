import itertools
import math

import numpy as np
import pytest

from replications.blog.experiments.theory.picard import (
    Problem,
    distance,
    integration_matrix,
    iterate,
    problems,
)


def test_integration_is_exact_for_polynomials_of_the_interpolants_degree():
    t, matrix = integration_matrix(10, 1.7)
    for power in range(10):
        np.testing.assert_allclose(matrix @ t**power, t ** (power + 1) / (power + 1), atol=1e-12)


def test_iterates_of_the_exponential_are_its_taylor_polynomials():
    t, matrix = integration_matrix(24, 1.0)
    start = np.ones(1)
    problem = Problem("exp", lambda t, x: x, start, lambda t: np.exp(t[:, None]), 1.0)
    found = iterate(problem, np.ones((24, 1)), t, matrix, 6)
    for n, x in enumerate(found):
        taylor = sum(t**k / math.factorial(k) for k in range(n + 1))
        np.testing.assert_allclose(x[:, 0], taylor, atol=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_every_iterate_keeps_the_bound_and_the_last_is_the_solution(seed):
    t, matrix = integration_matrix(48, 1.5)
    for problem in problems(np.random.default_rng(seed), 2.0, 1.5):
        exact = problem.solution(t)
        found = iterate(problem, np.broadcast_to(problem.start, exact.shape), t, matrix, 26)
        errors = [distance(x, exact) for x in found]
        bounds = [(problem.lipschitz * 1.5) ** n / math.factorial(n) * errors[0] for n in range(len(found))]
        assert all(e <= b + 1e-12 for e, b in zip(errors, bounds))
        assert errors[-1] < 1e-11


def test_the_bound_needs_the_right_lipschitz_constant():
    t, matrix = integration_matrix(48, 1.5)
    problem = problems(np.random.default_rng(0), 2.0, 1.5)[1]  # x' = -2 t x
    exact = problem.solution(t)
    found = iterate(problem, np.broadcast_to(problem.start, exact.shape), t, matrix, 6)
    errors = [distance(x, exact) for x in found]
    too_small = 0.3 * problem.lipschitz * 1.5
    assert any(e > too_small**n / math.factorial(n) * errors[0] for n, e in enumerate(errors))


def test_without_lipschitz_continuity_two_limits_solve_the_equation(finished):
    metrics = finished["blog.theory", "picard"].metrics
    assert metrics["max_error[root: zero]"].value == 0
    assert metrics["max_error[root: t^2/4]"].value < 1e-6


def test_recorded_bounds_are_the_terms_of_the_exponential_series(finished):
    record = finished["blog.theory", "picard"]
    lt = {"linear": 2.0 * 1.5, "timed": 2 * 1.5 * 1.5, "sine": 1.5}  # Lipschitz constant times horizon
    for name, rate in lt.items():
        bound = record.curves[f"bound[{name}]"].y
        assert bound[0] == record.curves[f"error[{name}]"].y[0]
        quotients = [b / a for a, b in itertools.pairwise(bound)]
        assert quotients == pytest.approx([rate / n for n in range(1, len(bound))], rel=1e-5)
