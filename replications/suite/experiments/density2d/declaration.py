"""What `suite.density2d` is."""

from __future__ import annotations

from replications.suite.config import SuiteConfig
from replications.suite.declaration import suite

SETS = ("8gaussians", "checkerboard", "2spirals", "pinwheel", "moons", "rings")

DENSITY2D = suite("density2d", "All methods on two-dimensional densities", SETS, SuiteConfig())
