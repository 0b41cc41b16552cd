"""What `suite.digits` is."""

from __future__ import annotations

from replications.suite.config import SuiteConfig
from replications.suite.declaration import suite

DIGITS = suite(
    "digits",
    "All methods on scikit-learn's digits, 8 x 8",
    ("digits",),
    SuiteConfig(
        budget=20.0,
        width=128,
        test_points=355,
        sets=8,
        set_points=40,
        timed=100,
        checked=50,
        validation_points=285,
    ),
)
