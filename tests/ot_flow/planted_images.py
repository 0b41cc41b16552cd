"""Small random images in place of MNIST, and the settings of a run on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bench.data.images import ImageSet
from bench.execution.run import Run
from bench.identity import identify
from replications.ot_flow.experiments.mnist.declaration import MNIST, OTFlowMnistConfig

H, W, N = 6, 5, 120


def synthetic(name: str, split: str) -> ImageSet:
    """Random images, no two equal, of labels 0..9 in turn."""
    generator = torch.Generator().manual_seed(len(split))
    images = torch.randint(256, (N, 1, H, W), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(N) % 10, 10, (0.5,), (0.29,), 255.0)


def settings(variant: str = "standardised", **overrides: Any) -> OTFlowMnistConfig:
    """Small enough for a second; `overrides` come last."""
    small = {
        "validation_images": 20,
        "autoencoder_batch": 40,
        "epochs": 4,
        "iterations": 6,
        "validate_every": 2,
    }
    config: OTFlowMnistConfig = MNIST.configure(variant, "smoke", {**small, **overrides})
    return config


def new_run(folder: Path, variant: str = "standardised", seed: int = 0) -> Run:
    return Run(identify(MNIST, variant, "smoke", seed), folder)
