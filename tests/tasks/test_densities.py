"""Densities of two-dimensional sets against the points that are drawn of them."""

from typing import Any

import numpy as np
import pytest

from bench.data import toy2d
from bench.errors import UserError
from replications.tasks.density2d.densities import DENSITIES, log_density


def grid(reach: float = 6.0, side: int = 241) -> tuple[Any, float]:
    """Centres of the cells of a grid over [-reach, reach]^2, and a cell's area."""
    edge = np.linspace(-reach, reach, side)
    middle = (edge[:-1] + edge[1:]) / 2
    return np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2), (edge[1] - edge[0]) ** 2


@pytest.mark.parametrize("name", DENSITIES)
def test_a_density_is_that_of_the_drawn_points(name: str) -> None:
    """Its mass is 1, and the mean over draws of log q and of bounded functions is that over the density."""
    at, area = grid()
    log_q = log_density(name, at)
    q = np.exp(log_q)
    assert q.sum() * area == pytest.approx(1, abs=1e-9 if name != "checkerboard" else 1e-12)
    x = toy2d.draw(name, 20_000, np.random.default_rng(0))
    functions = [
        lambda y, log: np.where(np.isfinite(log), log, 0.0),
        lambda y, log: np.cos(2 * y[:, 0] - y[:, 1]),
        lambda y, log: np.sin(y[:, 0] + 3 * y[:, 1]),
        lambda y, log: y[:, 0] * y[:, 1],
    ]
    for function in functions:
        drawn = function(x, log_density(name, x))
        expected = (function(at, log_q) * q).sum() * area
        assert drawn.mean() == pytest.approx(expected, abs=4 * drawn.std() / len(x) ** 0.5 + 1e-6)
    assert np.isfinite(log_density(name, x)).all()


def test_densities_known_by_hand() -> None:
    assert log_density("checkerboard", [[-3.0, -3.0], [-3.0, -1.0], [5.0, 5.0]]).tolist() == [
        pytest.approx(-np.log(32)),
        -np.inf,
        -np.inf,
    ]
    centre = log_density("8gaussians", [[4 / 1.414, 0.0]])
    assert centre[0] == pytest.approx(-np.log(8 * 2 * np.pi * (0.5 / 1.414) ** 2), abs=1e-6)
    with pytest.raises(UserError, match="not known"):
        log_density("pinwheel", [[0.0, 0.0]])
