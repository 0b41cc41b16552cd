"""What the FFJORD experiments are: settings, variants, tiers and reported metrics."""

from __future__ import annotations

from replications.ffjord.diagnostics_config import DENSITY_INTEGRAL, TRACE
from replications.ffjord.image_config import CIFAR10, images
from replications.ffjord.tabular_config import HELD_OUT, HELD_OUT_SET, SETS, tables
from replications.ffjord.toy_config import SETS as TOYS
from replications.ffjord.toy_config import toys

TOY = toys("ffjord.toy", "FFJORD on two-dimensional densities", {name: {"data": name} for name in TOYS})

TABULAR = tables(
    "ffjord.tabular",
    "FFJORD on tables",
    {HELD_OUT: HELD_OUT_SET} | {name: {"data": name, **network} for name, network in SETS.items()},
)

IMAGES = images("ffjord.images", "FFJORD on images", {"mnist": {"data": "mnist"}, "cifar10": CIFAR10})

EXPERIMENTS = (TOY, DENSITY_INTEGRAL, TABULAR, IMAGES, TRACE)
