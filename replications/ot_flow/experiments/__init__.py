"""What the OT-Flow experiments are: settings, variants, tiers and reported metrics."""

from __future__ import annotations

from replications.ot_flow.experiments.mnist.declaration import MNIST
from replications.ot_flow.experiments.published_weights.declaration import WEIGHTS
from replications.ot_flow.experiments.tabular.declaration import TABULAR
from replications.ot_flow.experiments.toy.declaration import TOY
from replications.ot_flow.experiments.trace.declaration import TRACE

EXPERIMENTS = (TOY, TABULAR, WEIGHTS, MNIST, TRACE)
BUILDERS = (
    "replications.ot_flow.method:build",
    "replications.ot_flow.experiments.mnist.autoencoder:build",
)
