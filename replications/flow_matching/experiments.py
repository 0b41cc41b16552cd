"""What the Flow Matching experiments are: settings, variants, tiers and reported metrics."""

from __future__ import annotations

from replications.flow_matching.convergence_config import CLAIMS
from replications.flow_matching.images_config import IMAGES
from replications.flow_matching.toy_config import TOY

EXPERIMENTS = (TOY, IMAGES, CLAIMS)
