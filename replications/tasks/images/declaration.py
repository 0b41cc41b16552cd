"""What the experiments on images are: sets, settings, tiers, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.experiment import Experiment
from replications.tasks.config import FlowConfig


@dataclass(frozen=True)
class ImageConfig(FlowConfig):
    """Settings of a flow of images; the defaults are those of FFJORD's published code (`train_cnf.py`).

    Of the inherited ones `divergence` holds for tests too, which solve by dopri5 at `test_tolerance`.

    Args:
        data: a set of `bench.data.images`.
        pool: averages squares of so many pixels a side, rounded to integers; 1 leaves the images as they are.
        flip: whether training images are mirrored at random.
        dims: channels of the hidden layers of each network.
        blocks: flows before and flows after each squeeze, each with its own network and end time.
        scales: 0 for as many as the images allow; 1 for a flow of a single scale.
        zero_last: start with the last layer's weights at zero (finlay2020rnode).
        alpha: of the logit.
        epochs: passes over the training set.
        warmup: iterations of linear rise of the learning rate.
        test_noise: whether test images are dequantised by uniform noise, or moved to the centres of their cells.
        test_tolerance: rtol = atol of tests.
        test_images: the first so many test images; 0 for all.
        test_batch: test images solved together.
        checked: test images on which inversion, solver error, regularity and trace variance are measured.
        probes: repeats of the estimate over which the trace variance is taken.
    """

    data: str = "mnist"
    pool: int = 1
    flip: bool = False
    dims: tuple[int, ...] = (64, 64, 64)
    blocks: int = 2
    scales: int = 0
    zero_last: bool = False
    alpha: float = 1e-6
    divergence: str = "rademacher"
    gradient: str = "adjoint"
    weight_decay: float = 0.0
    epochs: int = 1000
    iterations: int = 1_000_000
    batch: int = 200
    warmup: int = 1000
    test_noise: bool = True
    test_tolerance: float = 1e-5
    test_images: int = 0
    test_batch: int = 200
    checked: int = 100
    probes: int = 20


SMALL: dict[str, Any] = {
    "pool": 2, "gradient": "checkpoint", "rtol": 1e-3, "atol": 1e-3, "test_tolerance": 1e-3,
}  # fmt: skip

TIERS: dict[str, Mapping[str, Any]] = {
    "smoke": SMALL | {
        "dims": (4,), "blocks": 1, "iterations": 2, "batch": 4, "warmup": 0, "test_images": 6, "checked": 2,
        "probes": 2, "repeats": 1,
    },
    "cpu": SMALL | {
        "dims": (16, 16), "iterations": 80, "batch": 50, "warmup": 20, "learning_rate": 5e-3, "test_images": 1000,
        "checked": 10, "repeats": 3,
    },
    "gpu": {"gradient": "checkpoint", "iterations": 1500, "warmup": 100, "checked": 20},
    "paper": {},
}  # fmt: skip

METRICS = (
    "bits_per_dim", "nll", "nll_error", "nfe_forward", "nfe_backward", "nfe_test", "iteration_time", "evaluation_time",
    "train_time", "warmup_time", "data_time",
    "overhead", "kinetic_energy", "jacobian_norm", "trace_variance", "inversion_error", "peak_memory",
    "loglik_time", "sampling_time", "parameters", "end_time", "train_loss",
)  # fmt: skip

CAPTIONS = {
    "cpu": "Images averaged over 2x2 pixels (MNIST: 14x14, two scales) and rounded to 8 bits; networks of two hidden "
    "layers of 16 channels in place of three of 64; 80 iterations of 50 images at learning rate 0.005, 20 of them "
    "warm-up; dopri5 at 1e-3 in place of 1e-5; exact gradient of the computed solution in place of the adjoint's; "
    "tested on the first 1000 test images.",
    "gpu": "The published network on whole images; 1500 iterations of 200 images (5 epochs of MNIST), 100 of them "
    "warm-up; exact gradient of the computed solution in place of the adjoint's.",
}


def images(
    name: str,
    title: str,
    run: str,
    config: ImageConfig,
    variants: Mapping[str, Mapping[str, Any]],
    **history: Any,
) -> Experiment:
    """Return an experiment on images; arguments as `Experiment`; `history`: what is left of them.

    CIFAR-10 is not offered at tier cpu: a training that fits the tier would say nothing of it.
    """
    large = [variant for variant, settings in variants.items() if settings.get("data") == "cifar10"]
    return Experiment(
        name=name,
        task="images",
        seeded_by=("data", "pool"),
        **history,
        title=title,
        config=config,
        run=run,
        variants=variants,
        tiers=TIERS,
        metrics=METRICS,
        data_fields=("data",),
        offered=dict.fromkeys(large, ("smoke", "gpu", "paper")),
        figures={
            "samples": "replications.tasks.images.figures:samples",
            "training": "replications.tasks.images.figures:training",
        },
        captions=CAPTIONS,
    )
