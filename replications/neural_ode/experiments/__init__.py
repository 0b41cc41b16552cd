"""The Neural ODE experiments."""

from __future__ import annotations

from replications.neural_ode.experiments.mnist.declaration import MNIST
from replications.neural_ode.experiments.planar_cnf.declaration import PLANAR_CNF
from replications.neural_ode.experiments.scaling.declaration import SCALING

EXPERIMENTS = (MNIST, SCALING, PLANAR_CNF)
BUILDERS = (
    "replications.neural_ode.method:build",
    "replications.neural_ode.experiments.planar_cnf.model:build",
)
