"""The experiments of the suite."""

from __future__ import annotations

from replications.suite.experiments.density2d.declaration import DENSITY2D
from replications.suite.experiments.tuning.declaration import TUNING

EXPERIMENTS = (DENSITY2D, TUNING)
