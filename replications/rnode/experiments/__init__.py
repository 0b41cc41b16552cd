"""The RNODE experiments."""

from __future__ import annotations

from replications.rnode.experiments.images.declaration import IMAGES
from replications.rnode.experiments.tabular.declaration import TABULAR
from replications.rnode.experiments.toy.declaration import TOY

EXPERIMENTS = (TOY, TABULAR, IMAGES)
