"""What the Flow Matching experiments are: settings, variants, tiers and reported metrics."""

from __future__ import annotations

from replications.flow_matching.toy_config import TOY

EXPERIMENTS = (TOY,)
