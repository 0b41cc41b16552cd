"""The experiments of the suite."""

from __future__ import annotations

from replications.suite.experiments.density2d.declaration import DENSITY2D
from replications.suite.experiments.digits.declaration import DIGITS
from replications.suite.experiments.mixture.declaration import MIXTURE
from replications.suite.experiments.tabular.declaration import TABULAR
from replications.suite.experiments.tuning.declaration import TUNING

EXPERIMENTS = (DENSITY2D, MIXTURE, TABULAR, DIGITS, TUNING)
