from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from bench.data import toy2d
from bench.errors import UserError

Points = NDArray[np.float64]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", toy2d.names())
def test_points_depend_on_the_generator_alone(name: str) -> None:
    np.random.seed(1)  # noqa: NPY002 (what no set may look at)
    first = toy2d.draw(name, 101, rng(3))
    np.random.seed(2)  # noqa: NPY002
    assert first.shape == (101, 2)
    assert np.array_equal(first, toy2d.draw(name, 101, rng(3)))
    assert not np.array_equal(first, toy2d.draw(name, 101, rng(4)))


@pytest.mark.parametrize("name", toy2d.names())
def test_halves_of_a_draw_have_one_density(name: str) -> None:
    first, second = np.split(toy2d.draw(name, 20_000, rng()), 2)
    error = 5 * first.std(0) * np.sqrt(2 / len(first))
    assert (np.abs(first.mean(0) - second.mean(0)) < error).all()


def test_the_two_coordinates_of_the_spirals_are_shifted_apart() -> None:
    """With phi = 0 and without noise, points are a shift U(0, 1/2)^2 / 3 with a sign."""

    class Centre:
        uniform, choice = rng().uniform, rng().choice

        def random(self, n: int) -> Points:
            return np.zeros(n)

        def normal(self, mean: float, std: float, shape: tuple[int, int]) -> Points:
            assert (mean, std) == (0, 0.1)
            return np.zeros(shape)

    x, y = np.abs(toy2d.spirals2(4000, Centre())).T  # type: ignore[arg-type]
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.05
    np.testing.assert_allclose(
        (x.max(), y.max(), x.mean(), y.mean()), (1 / 6, 1 / 6, 1 / 12, 1 / 12), rtol=0.03
    )


def grid(n: int, *more: int) -> list[Points]:
    """Return the middles of n, m, ... equal parts of [0, 1], every combination of them, flat."""
    return [u.ravel() for u in np.meshgrid(*((np.arange(k) + 0.5) / k for k in (n, *more)))]


def polar(radius: Points | float, angle: Points) -> Points:
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), 1)


def rings_of(*radii: float) -> Points:
    return np.concatenate([polar(r, 2 * np.pi * u) for r in radii for u in grid(1000)])


def half_circles(shift: Points | float = 0.0) -> Points:
    (u,) = grid(1000)
    upper = polar(1.0, np.pi * u)
    return np.concatenate((upper, (1.0, 0.5) - upper)) + shift


def eight(radius: float) -> Points:
    return polar(radius, np.pi * np.arange(8) / 4)


def spiral() -> Points:
    (u,) = grid(4000)
    return polar(np.pi * (1.5 + 3 * u), np.pi * (1.5 + 3 * u)) / 5


def pinwheel() -> Points:
    u, v = grid(300, 20)
    along, across = norm.ppf(u, 1, 0.3), norm.ppf(v, 0, 0.1)
    turn = 0.25 * np.exp(along)
    arms = []
    for k in range(5):
        angle = 2 * np.pi * k / 5 + turn
        rows = (
            along * np.cos(angle) + across * np.sin(angle),
            across * np.cos(angle) - along * np.sin(angle),
        )
        arms.append(2 * np.stack(rows, 1))
    return np.concatenate(arms)


def two_arms() -> Points:
    u, v, w = grid(1000, 5, 5)
    phi = 3 * np.pi * np.sqrt(u)
    arm = (np.stack((-phi * np.cos(phi), phi * np.sin(phi)), 1) + 0.5 * np.stack((v, w), 1)) / 3
    return np.concatenate((arm, -arm))


def board() -> Points:
    u, v = grid(50, 50)
    dark = [(i, j) for i in range(-2, 2) for j in range(-2, 2) if (i + j) % 2 == 0]
    return np.concatenate([2 * np.stack((i + u, j + v), 1) for i, j in dark])


def sickle() -> Points:
    u, v = grid(30, 600)
    return polar(norm.ppf(u, 2, 0.2), norm.ppf(v, np.pi / 2, np.pi / 5)) - (0.0, 1.5)


def s_curve() -> Points:
    (u,) = grid(4000)
    phi = 1.5 * np.pi * (2 * u - 1)
    return 1.5 * np.stack((np.sin(phi), np.sign(phi) * (np.cos(phi) - 1)), 1)


def moved_moons() -> Points:
    return np.concatenate([3 * half_circles(0.2 * u) - 1 for u in grid(20)[0]])


SCALE = 7 / np.sqrt(0.51272 + 0.01)
"""Of `moons-bridge`: 7 over the deviation of all coordinates, of which the half circles have the variance 0.51272."""

WITHOUT_NOISE: dict[str, tuple[Callable[[], Points], float]] = {
    "swissroll": (spiral, 1 / 5),
    "circles": (lambda: rings_of(3, 1.5), 0.24),
    "rings": (lambda: rings_of(3, 2.25, 1.5, 0.75), 0.08),
    "moons": (lambda: 2 * half_circles() - (1.0, 0.2), 0.2),
    "8gaussians": (lambda: eight(4 / 1.414), 0.5 / 1.414),
    "pinwheel": (pinwheel, 0.0),
    "2spirals": (two_arms, 0.1),
    "checkerboard": (board, 0.0),
    "crescent": (sickle, 0.0),
    "moons-cfm": (lambda: 2 * half_circles() - (1.0, 0.0), 0.1),
    "moons-bridge": (lambda: SCALE * (half_circles() - 0.375), SCALE * 0.1),
    "moons-notebook": (moved_moons, 0.0),
    "8gaussians-cfm": (lambda: eight(5), 1.0),
    "8gaussians-bridge": (lambda: eight(12), 1.5),
    "8gaussians-notebook": (lambda: eight(5), 0.1**0.5),
    "scurve": (s_curve, 0.075),
}
"""The points of each set before the normal noise, on a fine grid, and the noise's standard deviation."""


@pytest.mark.parametrize("name", toy2d.names())
def test_the_characteristic_function_is_that_of_the_definition(name: str) -> None:
    """E exp(i w . x) is that of the points without noise times exp(-(s |w|)^2 / 2), at w of many lengths."""
    make, std = WITHOUT_NOISE[name]
    clean, n = make(), 40_000
    drawn = toy2d.draw(name, n, rng())
    scale = np.sqrt((clean**2).mean() + std**2)
    for length in (0.5, 1, 2, 4, 8):
        w = length / scale * polar(1.0, np.pi * np.arange(8) / 8 + 0.1).T
        expected = np.exp(1j * clean @ w).mean(0) * np.exp(-((std * length / scale) ** 2) / 2)
        found = np.exp(1j * drawn @ w).mean(0)
        # 40 complex numbers, each with a deviation of at most n^(-1/2)
        assert np.abs(found - expected).max() < 4 / np.sqrt(n)


def test_swissroll_and_moons_are_scikit_learns() -> None:
    from sklearn.datasets import make_moons, make_swiss_roll

    ours = {name: toy2d.draw(name, 50_000, rng()) for name in ("swissroll", "moons")}
    roll = make_swiss_roll(50_000, noise=1.0, random_state=0)[0][:, [0, 2]] / 5
    moons = make_moons(50_000, noise=0.1, random_state=0)[0] * 2 + np.array([-1, -0.2])
    for mine, theirs in ((ours["swissroll"], roll), (ours["moons"], moons)):
        for power in (1, 2, 3, 4):
            np.testing.assert_allclose((mine**power).mean(0), (theirs**power).mean(0), rtol=0.03, atol=0.1)
        assert np.prod(mine, axis=1).mean() == pytest.approx(np.prod(theirs, axis=1).mean(), abs=0.05)


@pytest.mark.parametrize(
    ("name", "radii", "noise"), [("circles", (3, 1.5), 0.24), ("rings", (3, 2.25, 1.5, 0.75), 0.08)]
)
def test_circles_have_their_radii_each_as_often(name: str, radii: tuple[float, ...], noise: float) -> None:
    x = toy2d.draw(name, 20_000, rng())
    r, sector = np.linalg.norm(x, axis=1), np.floor(np.arctan2(x[:, 1], x[:, 0]) / (np.pi / 4)) % 4
    nearest = np.abs(r[:, None] - np.array(radii)).argmin(1)
    for i, radius in enumerate(radii):
        ring = r[nearest == i]
        assert len(ring) / len(r) == pytest.approx(1 / len(radii), abs=0.02)
        # E r exceeds the radius by about noise^2 / (2 radius)
        assert ring.mean() == pytest.approx(radius + noise**2 / (2 * radius), abs=0.01)
        assert ring.std() == pytest.approx(noise, rel=0.05)
    largest = nearest == 0  # far out the noise along the radius is that of one direction, the same in all
    stds = [r[largest & (sector == k)].std() for k in range(4)]
    assert stds == pytest.approx([noise] * 4, rel=0.08)


def test_eight_gaussians() -> None:
    x = toy2d.draw("8gaussians", 20_000, rng())
    angle = 2 * np.pi * np.arange(8) / 8
    centres = 4 / 1.414 * np.stack((np.cos(angle), np.sin(angle)), 1)
    nearest = np.linalg.norm(x[:, None] - centres, axis=2).argmin(1)
    for i, centre in enumerate(centres):
        cluster = x[nearest == i]
        assert len(cluster) / len(x) == pytest.approx(1 / 8, abs=0.01)
        np.testing.assert_allclose(cluster.mean(0), centre, atol=0.05)
        np.testing.assert_allclose(cluster.std(0), 0.5 / 1.414, rtol=0.05)


@pytest.mark.parametrize(
    ("name", "radius", "std"),
    [("8gaussians-cfm", 5, 1), ("8gaussians-bridge", 12, 1.5), ("8gaussians-notebook", 5, 0.1**0.5)],
)
def test_eight_gaussians_on_other_scales(name: str, radius: float, std: float) -> None:
    """Moments of the mixture; r^2 is about radius^2, more by the noise, and every eighth of a turn looks alike."""
    x = toy2d.draw(name, 40_000, rng())
    squares = (x**2).sum(1)
    assert squares.mean() == pytest.approx(radius**2 + 2 * std**2, rel=0.01)
    assert squares.var() == pytest.approx(4 * radius**2 * std**2 + 4 * std**4, rel=0.03)
    angle = np.arctan2(x[:, 1], x[:, 0])
    assert abs(np.exp(1j * angle).mean()) < 0.02
    assert np.exp(8j * angle).mean().real > 0.1  # the centres lie at multiples of pi / 4


def test_moons_and_s_curve_on_other_scales() -> None:
    """As OT-CFM's code makes them from scikit-learn's, and the tutorials' from equally spaced ones."""
    from sklearn.datasets import make_moons, make_s_curve

    n = 50_000
    raw = make_moons(n, noise=0.1, random_state=0)[0]
    shift = np.random.default_rng(1).uniform(0, 0.2, (n, 1))
    theirs = {
        "moons-cfm": 2 * make_moons(n, noise=0.05, random_state=0)[0] - np.array([1, 0]),
        "moons-bridge": 7 * (raw - raw.mean()) / raw.std(),
        "moons-notebook": 3 * (make_moons(n, random_state=0)[0] + shift) - 1,
        "scurve": 1.5 * make_s_curve(n, noise=0.05, random_state=0)[0][:, [0, 2]],
    }
    for name, reference in theirs.items():
        x, scale = toy2d.draw(name, n, rng()), reference.std()
        for power in (1, 2, 3, 4):
            mine, expected = ((points / scale) ** power for points in (x, reference))
            np.testing.assert_allclose(mine.mean(0), expected.mean(0), rtol=0.03, atol=0.05)
        np.testing.assert_allclose(np.cov(x.T) / scale**2, np.cov(reference.T) / scale**2, atol=0.02)


def test_checkerboard_is_uniform_on_half_the_squares() -> None:
    squares, counts = np.unique(
        np.floor(toy2d.draw("checkerboard", 20_000, rng()) / 2), axis=0, return_counts=True
    )
    assert len(squares) == 8
    assert (squares.sum(1) % 2 == 0).all()
    assert (np.abs(squares + 0.5) < 2).all()
    np.testing.assert_allclose(counts, 2500, rtol=0.08)


def test_pinwheel_turned_by_a_fifth_is_itself() -> None:
    x = toy2d.draw("pinwheel", 40_000, rng())
    cos, sin = np.cos(2 * np.pi / 5), np.sin(2 * np.pi / 5)
    turned = x @ np.array([[cos, sin], [-sin, cos]])
    grid = [np.linspace(-3, 3, 7)] * 2
    here, there = (np.histogram2d(*points.T, bins=grid)[0] for points in (x, turned))
    assert np.abs(here - there).sum() / len(x) < 0.04
    assert np.hypot(*x.T).mean() == pytest.approx(2.0, abs=0.05)


def test_two_spirals_lie_on_their_arms() -> None:
    x = toy2d.draw("2spirals", 20_000, rng())
    np.testing.assert_allclose(x.mean(0), 0, atol=0.05)
    phi = np.linspace(0, 3 * np.pi, 2000)
    arm = (phi[:, None] * np.stack((-np.cos(phi), np.sin(phi)), 1) + 0.25) / 3
    distance = np.minimum(*(np.linalg.norm(x[:2000, None] - sign * arm, axis=2).min(1) for sign in (1, -1)))
    assert np.quantile(distance, 0.99) < 0.4
    # phi^2 is uniform: so is the square of the radius, up to the noise
    assert (np.hypot(*x.T) ** 2).mean() == pytest.approx(np.pi**2 / 2, rel=0.05)


def test_crescent_is_normal_in_polar_coordinates() -> None:
    x, y = toy2d.draw("crescent", 20_000, rng()).T
    radius, angle = np.hypot(x, y + 1.5), np.arctan2(x, y + 1.5)  # from the vertical
    for value, mean, std in ((radius, 2, 0.2), (angle, 0, np.pi / 5)):
        assert value.mean() == pytest.approx(mean, abs=0.02)
        assert value.std() == pytest.approx(std, rel=0.02)


def test_unknown_set_names_the_others() -> None:
    with pytest.raises(UserError, match=r"'spiral'.*2spirals"):
        toy2d.draw("spiral", 3, rng())
