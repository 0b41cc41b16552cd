"""The images of a run: three disjoint sets, and the corners of the interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.data.images import load
from bench.errors import UserError
from replications.ot_flow.training import precision
from replications.tasks.splits import Split, TestSet, TrainSet, ValidationSet, first

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.ot_flow.experiments.mnist.declaration import OTFlowMnistConfig

CORNERS = ((9, 3), (1, 1))
"""Digit and how many of it: three nines and a one, as in the authors' figure."""


@dataclass(frozen=True)
class Images:
    """Images `(N, P)`, pixels in 0..1.

    Args:
        split: to train, to validate, to test on.
        corners: the first test images of the digits `CORNERS`.
        shape: (H, W), with P = H W.
        mean: of the training pixels.
        std: of the training pixels.
    """

    split: Split
    corners: TestSet
    shape: tuple[int, int]
    mean: float
    std: float


def images(run: Run, config: OTFlowMnistConfig) -> Images:
    """Return the config's images; a random part of the training images is held out to validate.

    Raises:
        UserError: no image is left to train on.
    """
    whole, test = load(config.data, "train"), load(config.data, "test")
    n = config.validation_images
    if n >= len(whole.images):
        raise UserError(f"{n} validation images leave none of {len(whole.images)} to train on: take fewer")

    def pixels(raw: Tensor) -> Tensor:
        return (raw.flatten(1).to(precision(config)) / whole.white).to(run.device)

    order = torch.randperm(len(whole.images), generator=run.torch_generator("split"))
    corners = torch.cat([(test.labels == digit).nonzero()[:count, 0] for digit, count in CORNERS])
    h, w = whole.images.shape[2:]
    split = Split(
        TrainSet(pixels(whole.images[order[n:]])),
        ValidationSet(pixels(whole.images[order[:n]])),
        first(TestSet(pixels(test.images)), config.test_images),
    )
    return Images(split, TestSet(pixels(test.images[corners])), (h, w), whole.mean[0], whole.std[0])
