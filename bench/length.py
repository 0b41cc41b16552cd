"""Whether a training is long enough to tell of the quality of what it trains.

Whatever is trained for 300 iterations of 10,000 is bad, and which method is less bad then says nothing of what the
published length gives. So a claim about the quality of a trained network is settled from `LEAST` of that length on,
at whichever tier; one about evaluations, time, memory or a solver's error is settled where its tier says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.claim import Claim
from bench.experiment import TIERS, Experiment
from bench.identity import plain
from bench.metrics.catalogue import split_key
from bench.registry import registry
from bench.settings import flat, replace

LEAST = 0.5
"""Share of the published iterations from which on a training tells of quality."""
QUALITY = frozenset({
    "test_error", "test_accuracy", "train_loss", "parameter_error", "trajectory_error", "nll", "bits_per_dim", "kl",
    "free_energy", "wasserstein2", "debiased_wasserstein2", "sliced_wasserstein2", "mmd", "c2st", "fid",
    "inception_score", "kid", "precision", "recall", "class_agreement",
})  # fmt: skip
"""Metrics of how well a network does what it was trained for."""


def is_size(value: Any) -> bool:
    """Whether a setting is a whole number above 0."""
    return type(value) is int and value > 0


def lengths(config: Mapping[str, Any]) -> dict[str, int]:
    """Return the settings that say how long a training is: those that end in `iterations`, and are not 0."""
    return {
        key: value for key, value in flat(config).items() if key.endswith("iterations") and is_size(value)
    }


def share(experiment: Experiment, variant: str, tier: str) -> float:
    """Return the share of a variant's published iterations that a tier trains, that of its shortest training."""
    published = lengths(plain(replace(experiment.config, experiment.variants[variant], experiment.name)))
    taken = lengths(plain(experiment.configure(variant, tier)))
    return min((taken.get(key, 0) / length for key, length in published.items()), default=1.0)


def of_quality(claim: Claim) -> bool:
    """Whether a claim is about the quality of trained networks; one that compares two solves of one network is not."""
    return split_key(claim.metric)[0] in QUALITY and (not claim.against or "variant" in claim.against)


def least_tier(claim: Claim) -> str:
    """Return the lowest tier that can settle a claim: its own, or for quality the first one with enough training."""
    if not claim.experiment or not of_quality(claim):
        return claim.tier
    experiment = registry()[claim.experiment]
    variants = {claim.variant, claim.against.get("variant", claim.variant)}
    for tier in TIERS[TIERS.index(claim.tier) :]:
        if all(experiment.offers(v, tier) and share(experiment, v, tier) >= LEAST for v in variants):
            return tier
    return TIERS[-1]
