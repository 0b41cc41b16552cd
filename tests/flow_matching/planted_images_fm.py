"""The image experiment on scikit-learn's digits and on made-up images, scored by a tiny extractor."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.data.images import ImageSet
from bench.execution.run import Run
from bench.identity import identify
from bench.metrics.fidelity import extractors
from bench.metrics.fidelity.extractors import Extractor
from replications.flow_matching.experiments.images.declaration import IMAGES, FlowMatchingImageConfig
from replications.flow_matching.model import build_images
from replications.flows.density.images import UnitCubeFlow

needs_fidelity = pytest.mark.skipif(
    find_spec("torch_fidelity") is None or find_spec("torchvision") is None,
    reason="torch-fidelity is not installed: pip install 'cnf-bench[fidelity]'",
)

EXTRACTOR = "brightness-test"
TINY: dict[str, Any] = {"data": "digits", "pool": 1, "extractor": EXTRACTOR}
EXPERIMENT = dataclasses.replace(
    IMAGES,
    name="test.images",
    variants={
        "fm_ot": {**TINY, "method": "fm-ot"},
        "fm_vp": {**TINY, "method": "fm-vp"},
        "ot_cfm": {**TINY, "method": "ot-cfm", "flip": True},
        "class": {**TINY, "conditional": True, "guidance": 1.0},
    },
    offered={},
    departures=(),
)


class Brightness(torch.nn.Module):
    """Features: the mean of each quarter of an image; class 1 where the left half is the brighter one, else 0."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        grey = x.double().mean(1, keepdim=True) / 255
        quarters = torch.nn.functional.adaptive_avg_pool2d(grey, 2).flatten(1)
        left = quarters[:, 0] + quarters[:, 2] - quarters[:, 1] - quarters[:, 3]
        return quarters, torch.stack((-left, left), 1)


@contextmanager
def tiny_extractor(cache: Path) -> Iterator[None]:
    """Score by `Brightness` for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNF_BENCH_CACHE", str(cache))
        made = Extractor(EXTRACTOR, (None, None, None), "uint8", lambda _: Brightness())
        patch.setitem(extractors.EXTRACTORS, EXTRACTOR, made)
        yield


def new_run(
    folder: Path, variant: str = "fm_ot", seed: int = 0, **changes: Any
) -> tuple[Run, FlowMatchingImageConfig]:
    config = dataclasses.replace(EXPERIMENT.configure(variant, "smoke"), **changes)
    return Run(identify(EXPERIMENT, variant, "smoke", seed), folder), config


def small(config: FlowMatchingImageConfig) -> UnitCubeFlow:
    """An untrained network, v = 0."""
    classes = 10 if config.conditional else 0
    return build_images(
        (1, 8, 8), 4, (1,), 1, (), classes=classes, generator=torch.Generator().manual_seed(1)
    )


def dark_and_bright(name: str, split: str) -> ImageSet:
    """Training images of the values 0..9, test images of 200..209: no score can take one for the other."""
    low, n = (0, 300) if split == "train" else (200, 220)
    generator = torch.Generator().manual_seed(low)
    raw = torch.randint(low, low + 10, (n, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return ImageSet(raw, torch.arange(n) % 10, 10, (0.5,), (0.3,), 255.0)
