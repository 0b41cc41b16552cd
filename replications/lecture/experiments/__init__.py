"""The lecture's experiments."""

from __future__ import annotations

from replications.lecture.experiments.inversion.declaration import INVERSION
from replications.lecture.experiments.mnist.declaration import CLASSIFIER
from replications.lecture.experiments.solvers.declaration import SOLVERS

EXPERIMENTS = (SOLVERS, CLASSIFIER, INVERSION)
BUILDERS = ("replications.lecture.experiments.mnist.classifier:build",)
