"""What `suite.mixture` is."""

from __future__ import annotations

from replications.suite.config import SuiteConfig
from replications.suite.declaration import suite

SETS = ("mixture2", "mixture8", "mixture32")

MIXTURE = suite(
    "mixture",
    "All methods on Gaussian mixtures, against the truth",
    SETS,
    SuiteConfig(test_points=2000, timed=2000, checked=100),
)
