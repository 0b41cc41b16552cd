"""The FFJORD experiments."""

from __future__ import annotations

from replications.ffjord.experiments.density_integral.declaration import DENSITY_INTEGRAL
from replications.ffjord.experiments.images.declaration import IMAGES
from replications.ffjord.experiments.tabular.declaration import TABULAR
from replications.ffjord.experiments.toy.declaration import TOY
from replications.ffjord.experiments.trace.declaration import TRACE

EXPERIMENTS = (TOY, DENSITY_INTEGRAL, TABULAR, IMAGES, TRACE)
BUILDERS = (
    "replications.ffjord.method:build",
    "replications.ffjord.method:build_images",
)
