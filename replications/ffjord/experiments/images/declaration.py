"""What `ffjord.images` is."""

from __future__ import annotations

from replications.ffjord.networks import CIFAR10
from replications.tasks.images.declaration import ImageConfig, images

IMAGES = images(
    "ffjord.images",
    "FFJORD on images",
    "replications.ffjord.experiments.images.run:run",
    ImageConfig(),
    {"mnist": {"data": "mnist"}, "cifar10": CIFAR10},
    removed={"kinetic": 0.0, "jacobian": 0.0, "spread": 0.0},
)
