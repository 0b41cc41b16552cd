"""What `steer.images` is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Departure
from replications.rnode.config import Regularization
from replications.rnode.settings import PICTURES
from replications.steer.config import RandomEnd
from replications.steer.settings import METHODS
from replications.tasks.images.declaration import ImageConfig, images


@dataclass(frozen=True)
class SteerImageConfig(RandomEnd, Regularization, ImageConfig):
    """Settings of STEER on images."""


IMAGES = images(
    "steer.images",
    "STEER alone and on top of RNODE on images",
    "replications.steer.experiments.images.run:run",
    SteerImageConfig(),
    {
        f"mnist_{m}": PICTURES["mnist_rnode" if "rnode" in m else "mnist_ffjord"] | method
        for m, method in METHODS.items()
    },
    renamed={"spread": "b"},
    departures=(
        Departure(
            "Settings of the image runs are not released: they are RNODE's, and b is that of the code for flows"
        ),
    ),
)
