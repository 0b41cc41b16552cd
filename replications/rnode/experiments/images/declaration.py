"""What `rnode.images` is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Departure
from replications.rnode.config import Regularization
from replications.rnode.settings import PICTURES
from replications.tasks.images.declaration import ImageConfig, images


@dataclass(frozen=True)
class RnodeImageConfig(Regularization, ImageConfig):
    """Settings of RNODE on images."""


IMAGES = images(
    "rnode.images",
    "RNODE against FFJORD on images",
    "replications.rnode.experiments.images.run:run",
    RnodeImageConfig(),
    PICTURES,
    removed={"spread": 0.0},
    departures=(
        Departure("The last weights are tested; the code keeps those that are best on its test images"),
        Departure(
            "The first step of dopri5 is the solver's; the code sets 1/6", ("mnist_ffjord", "cifar10_*")
        ),
    ),
)
