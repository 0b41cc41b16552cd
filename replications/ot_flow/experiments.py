"""What the OT-Flow experiments are: settings, variants, tiers and reported metrics."""

from __future__ import annotations

from replications.ot_flow.mnist_config import MNIST
from replications.ot_flow.tabular_config import TABULAR
from replications.ot_flow.toy_config import TOY
from replications.ot_flow.trace_config import TRACE
from replications.ot_flow.weights_config import WEIGHTS

EXPERIMENTS = (TOY, TABULAR, WEIGHTS, MNIST, TRACE)
