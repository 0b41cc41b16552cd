"""Two-dimensional densities to learn, and a mixture on the line; each drawn from its own generator.

The first of `SETS`, up to the crescent, are those of FFJORD's and OT-Flow's code (grathwohl2019ffjord): the same
densities, but independent points, any number of them, from no other source of randomness than the generator. There,
circles, rings and moons are equally spaced before the noise, and every circle, moon and arm gets the same number of
points.

The last are those of OT-CFM's code (tong2024improving), again as independent points. It has moons and eight Gaussians
on three scales: `-cfm` from or to noise, `-bridge` from one to the other, `-notebook` in its tutorials.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bench.errors import UserError

Points = NDArray[np.float64]

MOONS_STD = 0.72299
"""Standard deviation about 0.375 of all coordinates of the half circles with N(0, 0.1^2 I)."""


def names() -> list[str]:
    """Return the names of the sets."""
    return list(SETS)


def draw(name: str, n: int, rng: Generator) -> Points:
    """Return n independent points `(n, 2)` of the set of that name.

    Raises:
        UserError: there is none.
    """
    if name not in SETS:
        raise UserError(f"no 2-D set is called {name!r}: choose one of {', '.join(SETS)}")
    return SETS[name](n, rng)


def swissroll(n: int, rng: Generator) -> Points:
    """Return points on the spiral r = phi, 3 pi/2 <= phi <= 9 pi/2, uniform in phi, + N(0, I), all / 5."""
    phi = 1.5 * np.pi * (1 + 2 * rng.random(n))
    return (_polar(phi, phi) + rng.normal(size=(n, 2))) / 5


def circles(n: int, rng: Generator) -> Points:
    """Return points on the circles of radius 1 and 1/2, + N(0, 0.08^2 I), all * 3."""
    return 3 * (_on_circles((1.0, 0.5), n, rng) + rng.normal(0, 0.08, (n, 2)))


def rings(n: int, rng: Generator) -> Points:
    """Return points on the circles of radius 3, 2.25, 1.5 and 0.75, + N(0, 0.08^2 I)."""
    return 3 * _on_circles((1.0, 0.75, 0.5, 0.25), n, rng) + rng.normal(0, 0.08, (n, 2))


def moons(n: int, rng: Generator) -> Points:
    """Return points on two half circles that reach into each other, + N(0, 0.1^2 I), then * 2 - (1, 0.2)."""
    return 2 * (_half_circles(n, rng) + rng.normal(0, 0.1, (n, 2))) - (1.0, 0.2)


def gaussians8(n: int, rng: Generator) -> Points:
    """Return points N(c, 0.5^2 I) about 8 centres c equally spaced on the circle of radius 4, all / 1.414."""
    return _eight(n, rng, 4.0, 0.5) / 1.414


def pinwheel(n: int, rng: Generator) -> Points:
    """Return points of 5 bent arms: (N(1, 0.3^2), N(0, 0.1^2)) turned by 2 pi k/5 + exp(first)/4, all * 2."""
    along, across = rng.normal(1, 0.3, n), rng.normal(0, 0.1, n)
    angle = 2 * np.pi * rng.integers(5, size=n) / 5 + 0.25 * np.exp(along)
    cos, sin = np.cos(angle), np.sin(angle)
    return 2 * np.stack((along * cos + across * sin, across * cos - along * sin), axis=1)


def spirals2(n: int, rng: Generator) -> Points:
    """Return points of two arms r = phi = 3 pi sqrt(U), + U(0, 1/2) per axis, one arm negated, / 3, + N(0, 0.1^2 I)."""
    phi = 3 * np.pi * np.sqrt(rng.random(n))
    arm = phi[:, None] * np.stack((-np.cos(phi), np.sin(phi)), axis=1) + rng.uniform(0, 0.5, (n, 2))
    sign = rng.choice((-1.0, 1.0), n)
    return sign[:, None] * arm / 3 + rng.normal(0, 0.1, (n, 2))


def checkerboard(n: int, rng: Generator) -> Points:
    """Return points uniform on the dark squares of a 4 x 4 board over [-4, 4]^2, dark at (-4, -4)..(-2, -2)."""
    first = rng.uniform(-2, 2, n)
    second = rng.random(n) - 2 * rng.integers(2, size=n) + np.floor(first) % 2
    return 2 * np.stack((first, second), axis=1)


def crescent(n: int, rng: Generator) -> Points:
    """Return points at the radius N(2, 0.2^2) and the angle N(pi/2, (pi/5)^2), lowered by 1.5.

    The tutorial that learns a crescent does not define it; this definition is ours.
    """
    return _polar(rng.normal(2, 0.2, n), rng.normal(np.pi / 2, np.pi / 5, n)) - (0.0, 1.5)


def moons_cfm(n: int, rng: Generator) -> Points:
    """Return points on two half circles that reach into each other, + N(0, 0.05^2 I), then * 2 - (1, 0)."""
    return 2 * (_half_circles(n, rng) + rng.normal(0, 0.05, (n, 2))) - (1.0, 0.0)


def moons_bridge(n: int, rng: Generator) -> Points:
    """Return points on two half circles, + N(0, 0.1^2 I), as a whole shifted to mean 0 and scaled to deviation 7.

    Both numbers are of all coordinates together, so that the shape stays.
    """
    return (_half_circles(n, rng) + rng.normal(0, 0.1, (n, 2)) - 0.375) * (7 / MOONS_STD)


def moons_notebook(n: int, rng: Generator) -> Points:
    """Return points on two half circles, shifted along (1, 1) by U(0, 0.2), then * 3 - (1, 1)."""
    return 3 * (_half_circles(n, rng) + rng.uniform(0, 0.2, (n, 1))) - 1


def gaussians8_cfm(n: int, rng: Generator) -> Points:
    """Return points N(c, I) about 8 centres c equally spaced on the circle of radius 5."""
    return _eight(n, rng, 5.0, 1.0)


def gaussians8_bridge(n: int, rng: Generator) -> Points:
    """Return points N(c, 1.5^2 I) about 8 centres c equally spaced on the circle of radius 12."""
    return _eight(n, rng, 12.0, 1.5)


def gaussians8_notebook(n: int, rng: Generator) -> Points:
    """Return points N(c, 0.1 I) about 8 centres c equally spaced on the circle of radius 5."""
    return _eight(n, rng, 5.0, 0.1**0.5)


def scurve(n: int, rng: Generator) -> Points:
    """Return points (sin phi, sign(phi) (cos phi - 1)), phi ~ U(-3 pi/2, 3 pi/2), + N(0, 0.05^2 I), all * 1.5."""
    phi = 1.5 * np.pi * (2 * rng.random(n) - 1)
    curve = np.stack((np.sin(phi), np.sign(phi) * (np.cos(phi) - 1)), axis=1)
    return 1.5 * (curve + rng.normal(0, 0.05, (n, 2)))


def _polar(radius: Points, angle: Points) -> Points:
    """Return r (cos a, sin a), `(n, 2)`."""
    return radius[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)


def _half_circles(n: int, rng: Generator) -> Points:
    """Return points on the upper half of the circle about 0, or the lower half of that about (1, 1/2), as often."""
    upper = rng.random(n) < 0.5
    arc = _polar(np.ones(n), np.pi * rng.random(n))
    return np.where(upper[:, None], arc, (1.0, 0.5) - arc)


def _eight(n: int, rng: Generator, radius: float, std: float) -> Points:
    """Return points N(c, std^2 I) about 8 centres c equally spaced on a circle, each as likely."""
    centre = _polar(np.full(n, radius), 2 * np.pi * rng.integers(8, size=n) / 8)
    return centre + rng.normal(0, std, (n, 2))


def _on_circles(radii: tuple[float, ...], n: int, rng: Generator) -> Points:
    """Return points uniform on circles, each as likely."""
    return _polar(rng.choice(radii, n), 2 * np.pi * rng.random(n))


SETS: dict[str, Callable[[int, Generator], Points]] = {
    "swissroll": swissroll,
    "circles": circles,
    "rings": rings,
    "moons": moons,
    "8gaussians": gaussians8,
    "pinwheel": pinwheel,
    "2spirals": spirals2,
    "checkerboard": checkerboard,
    "crescent": crescent,
    "moons-cfm": moons_cfm,
    "moons-bridge": moons_bridge,
    "moons-notebook": moons_notebook,
    "8gaussians-cfm": gaussians8_cfm,
    "8gaussians-bridge": gaussians8_bridge,
    "8gaussians-notebook": gaussians8_notebook,
    "scurve": scurve,
}
