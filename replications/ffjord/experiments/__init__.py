"""What the FFJORD experiments are: settings, variants, tiers and reported metrics."""

from __future__ import annotations

from replications.ffjord.experiments.diagnostics import DENSITY_INTEGRAL, TRACE
from replications.tasks.density2d.declaration import SETS as TOYS
from replications.tasks.density2d.declaration import toys
from replications.tasks.images.declaration import CIFAR10, images
from replications.tasks.tables.declaration import HELD_OUT, HELD_OUT_SET, SETS, tables

TOY = toys("ffjord.toy", "FFJORD on two-dimensional densities", {name: {"data": name} for name in TOYS})

TABULAR = tables(
    "ffjord.tabular",
    "FFJORD on tables",
    {HELD_OUT: HELD_OUT_SET} | {name: {"data": name, **network} for name, network in SETS.items()},
)

IMAGES = images("ffjord.images", "FFJORD on images", {"mnist": {"data": "mnist"}, "cifar10": CIFAR10})

EXPERIMENTS = (TOY, DENSITY_INTEGRAL, TABULAR, IMAGES, TRACE)
