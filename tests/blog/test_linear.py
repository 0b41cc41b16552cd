"""The closed form of a linear system."""

import numpy as np
from scipy.integrate import solve_ivp

from replications.blog.linear import solution


def test_spiral_has_the_closed_form_of_a_damped_rotation():
    times = np.linspace(-1, 10, 23)
    path = solution([[-0.1, 2.0], [-2.0, -0.1]], [2.0, 0.0], times)
    turned = 2 * np.exp(-0.1 * times)[:, None] * np.stack([np.cos(2 * times), -np.sin(2 * times)], axis=1)
    np.testing.assert_allclose(path, turned, rtol=0, atol=1e-12)


def test_spiral_agrees_with_an_integrator_on_a_defective_matrix():
    matrix = np.array([[-0.5, 1.0], [0.0, -0.5]])  # one eigenvector only
    times = np.linspace(0, 4, 9)
    solved = solve_ivp(lambda _, y: matrix @ y, (0, 4), [1.0, -2.0], t_eval=times, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(solution(matrix, [1.0, -2.0], times), solved.y.T, rtol=0, atol=1e-9)
