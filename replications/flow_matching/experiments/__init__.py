"""What the Flow Matching experiments are: settings, variants, tiers and reported metrics."""

from __future__ import annotations

from replications.flow_matching.experiments.claims.declaration import CLAIMS
from replications.flow_matching.experiments.images.declaration import IMAGES
from replications.flow_matching.experiments.toy.declaration import TOY

EXPERIMENTS = (TOY, IMAGES, CLAIMS)
BUILDERS = (
    "replications.flow_matching.model:build",
    "replications.flow_matching.model:build_images",
    "replications.flow_matching.sources:build",
)
