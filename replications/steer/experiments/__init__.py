"""The STEER experiments."""

from __future__ import annotations

from replications.steer.experiments.images.declaration import IMAGES
from replications.steer.experiments.stiff.declaration import STIFF
from replications.steer.experiments.tabular.declaration import TABULAR
from replications.steer.experiments.toy.declaration import TOY

EXPERIMENTS = (TOY, TABULAR, IMAGES, STIFF)
BUILDERS = ("replications.steer.experiments.stiff.run:build",)
