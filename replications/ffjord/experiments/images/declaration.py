"""What `ffjord.images` is."""

from __future__ import annotations

from bench.experiment import Departure
from replications.ffjord.networks import CIFAR10
from replications.tasks.images.declaration import ImageConfig, images

IMAGES = images(
    "ffjord.images",
    "FFJORD on images",
    "replications.ffjord.experiments.images.run:run",
    ImageConfig(),
    {"mnist": {"data": "mnist"}, "cifar10": CIFAR10},
    removed={"kinetic": 0.0, "jacobian": 0.0, "spread": 0.0},
    departures=(
        Departure(
            "Batches of 200 for 1000 epochs at a constant rate, as in the code; the paper has 900 for 500, and a tenth "
            "of the rate from epoch 250"
        ),
        Departure("The last weights are tested; the code keeps those that are best on its test images"),
        Departure(
            "alpha = 0.05 is that of RNODE's code: FFJORD's command for CIFAR-10 is not known", ("cifar10",)
        ),
    ),
)
