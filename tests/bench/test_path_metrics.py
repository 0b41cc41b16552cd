"""Straightness and normalised path energy: closed forms, the change of clock, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import UserError
from bench.metrics.paths import path_energy, straightness

N, D = 50, 3
TIMES = np.linspace(0, 1, 2001)


def lines(times, seed: int = 1):
    """Return straight paths at constant speed: positions, velocities, displacement `(N, D)`."""
    source = np.random.default_rng(seed)
    start, step = source.normal(size=(2, N, D))
    return start + times[:, None, None] * step, np.broadcast_to(step, (len(times), N, D)), step


def circles(times, radius):
    """Return paths a quarter around circles of these radii `(N,)`, at constant speed."""
    angle = np.pi / 2 * times[:, None]
    x = radius[None, :, None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    v = np.pi / 2 * radius[None, :, None] * np.stack((-np.sin(angle), np.cos(angle)), axis=-1)
    return x, v


def test_straight_paths_have_straightness_zero_and_the_energy_of_their_lengths():
    x, v, step = lines(TIMES[::100])
    assert straightness(TIMES[::100], x, v)[0] == pytest.approx(0, abs=1e-25)
    squares = (step**2).sum(1)
    value, se = path_energy(TIMES[::100], v, 1.0)
    assert value == pytest.approx(squares.mean() - 1, rel=1e-12)
    assert se == pytest.approx(squares.std(ddof=1) / np.sqrt(N), rel=1e-12)
    assert path_energy(TIMES[::100], v, np.sqrt(squares.mean()))[0] == pytest.approx(0, abs=1e-12)


def test_two_times_and_two_paths_are_enough():
    x, v, step = (part[..., :2, :] for part in lines(np.array([0.0, 2.0])))
    assert straightness([0.0, 2.0], x, v)[0] == pytest.approx(0, abs=1e-25)
    assert path_energy([0.0, 2.0], v, 1.0)[0] == pytest.approx(4 * (step**2).sum(1).mean() - 1, rel=1e-12)


def test_circles_have_their_closed_forms():
    radius = np.random.default_rng(2).uniform(1, 2, N)
    x, v = circles(TIMES, radius)
    # E |v|^2 - |x_1 - x_0|^2 = r^2 (pi^2 / 4 - 2), as the mean velocity is the displacement.
    each = radius**2 * (np.pi**2 / 4 - 2)
    value, se = straightness(TIMES, x, v)
    assert value == pytest.approx(each.mean(), rel=1e-6)
    assert se == pytest.approx(each.std(ddof=1) / np.sqrt(N), rel=1e-6)
    energy = radius**2 * np.pi**2 / 4
    value, se = path_energy(TIMES, v, 2.0)
    assert value == pytest.approx(abs(energy.mean() - 4) / 4, rel=1e-9)
    assert se == pytest.approx(energy.std(ddof=1) / np.sqrt(N) / 4, rel=1e-9)


def test_a_straight_path_at_uneven_speed_is_not_straight_in_time():
    t = TIMES[:, None, None]
    step = np.random.default_rng(3).normal(size=(N, D))
    # x_t = t^2 d: integral of |d - 2 t d|^2 is |d|^2 / 3; energy |d|^2 4/3.
    squares = (step**2).sum(1).mean()
    assert straightness(TIMES, t**2 * step, 2 * t * step)[0] == pytest.approx(squares / 3, rel=1e-6)
    assert path_energy(TIMES, 2 * t * step, np.sqrt(squares))[0] == pytest.approx(1 / 3, rel=1e-6)


def test_another_clock_and_the_way_back_change_nothing():
    radius = np.random.default_rng(4).uniform(1, 2, N)
    uneven = TIMES**1.5
    x, v = circles(uneven, radius)
    expected = straightness(uneven, x, v), path_energy(uneven, v, 3.0)
    for times, positions, velocities in (
        (5 * uneven + 2, x, v / 5),
        (uneven[::-1], x[::-1], v[::-1]),
    ):
        found = straightness(times, positions, velocities), path_energy(times, velocities, 3.0)
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def nan(x):
    y = np.array(x)
    y[1, 2] = np.nan
    return y


T = np.linspace(0, 1, 5)
X, V, _ = lines(T)


@pytest.mark.parametrize(
    ("times", "x", "v", "fault"),
    [
        (T[:1], X[:1], V[:1], r"times have the shape \(1,\)"),
        (T[[0, 2, 1, 3, 4]], X, V, "not strictly increasing or decreasing"),
        (0 * T, X, V, "not strictly increasing or decreasing"),
        (T * [1, 1, 1, 1, np.nan], X, V, "not strictly increasing or decreasing"),
        (T, X, V[:4], r"velocities have the shape \(4, 50, 3\): give \(K, N, D\), K = 5"),
        (T, X, V[:, :1], r"velocities have the shape \(5, 1, 3\)"),
        (T, X[:4], V, r"positions \(4, 50, 3\) and velocities \(5, 50, 3\)"),
        (T, nan(X), V, "a position is not finite"),
        (T, X, nan(V), "a velocity is not finite"),
    ],
)
def test_bad_paths_are_refused(times, x, v, fault):
    with pytest.raises(UserError, match=fault) as error:
        straightness(times, x, v)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("w2", [0.0, -1.0, np.nan, np.inf])
def test_a_distance_that_is_not_positive_is_refused(w2):
    with pytest.raises(UserError, match="needs a positive distance"):
        path_energy(T, V, w2)


def test_paths_on_the_line_are_measured_too():
    times = np.linspace(0, 1, 5)
    v = np.ones((5, 3, 1)) * np.array([1.0, 2.0, 3.0])[None, :, None]
    x = times[:, None, None] * v
    assert straightness(times, x, v)[0] == pytest.approx(0)
    assert path_energy(times, v, 2.0)[0] == pytest.approx(abs(14 / 3 - 4) / 4)
