"""What `suite.tabular` is."""

from __future__ import annotations

from replications.suite.config import SuiteConfig
from replications.suite.declaration import suite

SETS = ("miniboone_heldout", "bsds300_patches", "nyc_weather")

TABULAR = suite(
    "tabular",
    "All methods on rows of tables",
    SETS,
    SuiteConfig(budget=20.0, width=128, test_points=1000, set_points=100, timed=500, checked=50),
    data_fields=("data",),
)
