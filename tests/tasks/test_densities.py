"""Densities of two-dimensional sets against the points that are drawn of them."""

from typing import Any

import numpy as np
import pytest

from bench.data import toy2d
from bench.errors import UserError
from replications.tasks.density2d import densities
from replications.tasks.density2d.densities import DENSITIES, NODES, log_density

GRID = {
    "2spirals": (5.0, 101),
    "pinwheel": (6.0, 241),
    "checkerboard": (6.0, 241),
    "moons-bridge": (30.0, 161),
    "8gaussians-cfm": (13.0, 161),
    "8gaussians-bridge": (26.0, 161),
    "8gaussians-notebook": (8.0, 161),
}
"""Reach and points a side of the grids on which the density is integrated, where they are not (6, 161)."""


def grid(reach: float = 6.0, side: int = 161) -> tuple[Any, float]:
    """Centres of the cells of a grid over [-reach, reach]^2, and a cell's area."""
    edge = np.linspace(-reach, reach, side)
    middle = (edge[:-1] + edge[1:]) / 2
    return np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2), (edge[1] - edge[0]) ** 2


@pytest.mark.parametrize("name", DENSITIES)
def test_a_density_is_that_of_the_drawn_points(name: str) -> None:
    """Its mass is 1, and the mean over draws of log q and of bounded functions is that over the density."""
    at, area = grid(*GRID.get(name, (6.0, 161)))
    log_q = log_density(name, at)
    q = np.exp(log_q)
    assert q.sum() * area == pytest.approx(1, abs=1e-8)
    x = toy2d.draw(name, 10_000, np.random.default_rng(0))
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


def test_every_set_but_one_has_a_density() -> None:
    assert set(toy2d.SETS) - set(DENSITIES) == {
        "moons-notebook"
    }  # it lies on curves, without noise across them


@pytest.mark.parametrize("name", ["moons-cfm", "swissroll", "2spirals", "scurve"])
def test_more_nodes_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = toy2d.draw(name, 1000, np.random.default_rng(1))
    found = log_density(name, x)
    monkeypatch.setattr(densities, "NODES", {curve: 2 * nodes for curve, nodes in NODES.items()})
    np.testing.assert_allclose(log_density(name, x), found, rtol=0, atol=1e-8)


def test_the_arms_of_a_pinwheel_are_those_of_its_draws() -> None:
    """The density of a point by its definition, a quadrature over the place along the arm with a narrow blur."""
    x = toy2d.draw("pinwheel", 10, np.random.default_rng(2))
    blur, along = 1e-3, np.linspace(-1, 3, 200_001)
    bent = np.exp(along) / 4
    for point, found in zip(x / 2, log_density("pinwheel", x), strict=True):
        total = 0.0
        for arm in 2 * np.pi / 5 * np.arange(5):
            cos, sin = np.cos(arm + bent), np.sin(arm + bent)
            # R(theta) point = (a, b) + blur: b is integrated in closed form.
            first, second = cos * point[0] - sin * point[1], sin * point[0] + cos * point[1]
            wide = 0.1**2 + blur**2
            log = -((along - 1) ** 2) / 0.18 - (first - along) ** 2 / (2 * blur**2) - second**2 / (2 * wide)
            constant = 0.3 * blur * wide**0.5 * (2 * np.pi) ** 1.5
            total += np.exp(log).sum() * (along[1] - along[0]) / constant / 20
        assert found == pytest.approx(np.log(total), abs=2e-3)


def test_far_from_the_data_the_density_is_small_not_wrong() -> None:
    far = [[40.0, -30.0], [0.0, 50.0]]
    for name in set(DENSITIES) - {"checkerboard", "pinwheel"}:
        assert np.isfinite(log_density(name, far)).all()
        assert (log_density(name, far) < -30).all()
    assert (log_density("pinwheel", far) < -30).all()
    assert log_density("moons", np.empty((0, 2))).shape == (0,)


def test_densities_known_by_hand() -> None:
    assert log_density("checkerboard", [[-3.0, -3.0], [-3.0, -1.0], [5.0, 5.0]]).tolist() == [
        pytest.approx(-np.log(32)),
        -np.inf,
        -np.inf,
    ]
    centre = log_density("8gaussians", [[4 / 1.414, 0.0]])
    assert centre[0] == pytest.approx(-np.log(8 * 2 * np.pi * (0.5 / 1.414) ** 2), abs=1e-6)
    origin = log_density("rings", [[0.0, 0.0]])
    assert origin[0] == pytest.approx(-((0.75 / 0.08) ** 2) / 2 - np.log(4 * 2 * np.pi * 0.08**2), abs=1e-9)
    with pytest.raises(UserError, match="not known"):
        log_density("moons-notebook", [[0.0, 0.0]])
