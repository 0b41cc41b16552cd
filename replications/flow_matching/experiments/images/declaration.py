"""What the experiment on images is: settings, variants, tiers and reported metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError
from bench.experiment import Departure, Experiment

REAL = "test images against train images"
"""Qualifier of the scores of real images."""


@dataclass(frozen=True)
class FlowMatchingImageConfig:
    """Settings of a flow of images; the defaults are those of lipman2023flow for CIFAR-10.

    Args:
        data: a set of `bench.data.images`.
        pool: averages squares of so many pixels a side, rounded to integers; 1 leaves the images as they are.
        flip: whether training images are mirrored at random.
        method: of `replications.flow_matching.method.METHODS`, with its own sigma.
        conditional: whether the network is told the class.
        drop: probability that it is told none in training.
        guidance: w, with which images of a class are drawn a second time.
        channels: of the U-Net's first size; for it and the next four see `replications.flows.fields.unet.UNet`.
        mult: channels of each size.
        depth: residual blocks of each size.
        attention: heights with attention.
        head_channels: of each head.
        iterations: optimizer steps of Adam.
        batch: images an iteration.
        learning_rate: the highest.
        schedule: see `replications.flows.training.loop.Training`, as for the next four.
        warmup: iterations of linear rise of the learning rate.
        clip_norm: largest norm of a gradient; 0 leaves it as it is.
        ema_decay: of the averaged weights, which are the ones tested; 0 for no average.
        validate_every: iterations between measurements of the FID in training; 0 for one at the end.
        extractor: features for FID, KID, precision, recall and IS; see `bench.metrics.fidelity.extractors`.
        reference: training images that samples are compared with, drawn at random; 0 for all.
        samples: images drawn by dopri5.
        few_samples: the first so many of them, drawn by the other solvers and in training.
        sample_batch: images drawn together; they share their steps.
        solvers: methods with fixed steps, for FID against NFE.
        evaluations: the NFE that each gets.
        test_tolerance: rtol = atol of dopri5.
        test_images: test images whose likelihood is computed, drawn at random; 0 for all.
        test_batch: of them solved together.
        divergence: how the likelihood gets its trace; see `replications.flows.density.divergence`.
        importance: numbers K of dequantisations of an image that its likelihood averages, rising.

    Raises:
        UserError: a number out of range.
    """

    data: str = "cifar10"
    pool: int = 1
    flip: bool = False
    method: str = "fm-ot"
    conditional: bool = False
    drop: float = 0.1
    guidance: float = 1.0
    channels: int = 256
    mult: tuple[int, ...] = (1, 2, 2, 2)
    depth: int = 2
    attention: tuple[int, ...] = (16,)
    head_channels: int = 64
    iterations: int = 391_000
    batch: int = 256
    learning_rate: float = 5e-4
    schedule: str = "polynomial"
    warmup: int = 45_000
    clip_norm: float = 0.0
    ema_decay: float = 0.0
    validate_every: int = 0
    extractor: str = "inception-v3-compat"
    reference: int = 0
    samples: int = 50_000
    few_samples: int = 10_000
    sample_batch: int = 500
    solvers: tuple[str, ...] = ("euler", "midpoint", "heun2")
    evaluations: tuple[int, ...] = (4, 8, 16, 32)
    test_tolerance: float = 1e-5
    test_images: int = 0
    test_batch: int = 100
    divergence: str = "rademacher"
    importance: tuple[int, ...] = (1, 20, 50)

    def __post_init__(self) -> None:
        least = dict.fromkeys(
            ("iterations", "batch", "samples", "few_samples", "sample_batch", "test_batch"), 1
        )
        for name, low in {**least, "reference": 0, "test_images": 0}.items():
            if getattr(self, name) < low:
                raise UserError(f"config key {name!r} must be at least {low}, got {getattr(self, name)}")
        if self.few_samples > self.samples:
            raise UserError(
                f"config key 'few_samples' is above 'samples': {self.few_samples} > {self.samples}"
            )
        if not self.importance or list(self.importance) != sorted({1, *self.importance}):
            raise UserError(f"config key 'importance' must rise from 1, got {self.importance}")
        if not self.evaluations or any(n < 2 or n % 2 for n in self.evaluations):
            raise UserError(f"config key 'evaluations' must hold even numbers, got {self.evaluations}")


TONG: dict[str, Any] = {
    "flip": True, "channels": 128, "iterations": 400_001, "batch": 128, "learning_rate": 2e-4,
    "schedule": "constant", "warmup": 5000, "clip_norm": 1.0, "ema_decay": 0.9999,
    "evaluations": (4, 8, 16, 32, 100, 1000),
}  # fmt: skip
"""Where the code of tong2024improving for CIFAR-10 departs from lipman2023flow."""

MNIST: dict[str, Any] = {"data": "mnist", "extractor": "mnist-cnn-v1"}

VARIANTS: dict[str, Mapping[str, Any]] = {
    "mnist_fm_ot": MNIST,
    "mnist_fm_vp": {**MNIST, "method": "fm-vp"},
    "mnist_class": {**MNIST, "conditional": True},
    "cifar10_fm_ot": {},
    "cifar10_fm_vp": {"method": "fm-vp"},
    "cifar10_i_cfm": {**TONG, "method": "i-cfm"},
    "cifar10_ot_cfm": {**TONG, "method": "ot-cfm"},
}

TIERS: dict[str, Mapping[str, Any]] = {
    "smoke": {
        "pool": 2, "channels": 4, "mult": (1, 2), "depth": 1, "attention": (), "iterations": 4, "batch": 8,
        "warmup": 0, "ema_decay": 0.5, "validate_every": 2, "reference": 200, "samples": 140, "few_samples": 130,
        "sample_batch": 70, "solvers": ("euler", "midpoint"), "evaluations": (2, 4), "test_tolerance": 1e-3,
        "test_images": 4, "test_batch": 4, "importance": (1, 2),
    },
    "cpu": {
        "pool": 2, "channels": 16, "mult": (1, 2, 2), "depth": 1, "attention": (), "iterations": 1200, "batch": 64,
        "learning_rate": 3e-3, "warmup": 100, "ema_decay": 0.99, "validate_every": 400, "reference": 5000,
        "samples": 1000, "few_samples": 500, "sample_batch": 250, "test_images": 10, "test_batch": 10,
        "importance": (1, 5),
    },
    "gpu": {
        "channels": 64, "mult": (1, 2, 2), "attention": (), "iterations": 15_000, "warmup": 500, "batch": 256,
        "learning_rate": 1e-3, "ema_decay": 0.999, "validate_every": 1500, "reference": 10_000, "samples": 10_000,
        "few_samples": 5000, "test_images": 500, "importance": (1, 10),
    },
    "paper": {},
}  # fmt: skip

METRICS = (
    "fid", "inception_score", "kid", "precision", "recall", "class_agreement", "nfe", "sampling_time", "bits_per_dim",
    "nfe_test", "inversion_error", "loglik_time", "train_loss", "nfe_forward", "nfe_backward", "iteration_time",
    "evaluation_time", "train_time", "warmup_time", "data_time", "peak_memory", "parameters",
)  # fmt: skip

CAPTIONS = {
    "cpu": "Digits averaged over 2x2 pixels to 14x14 and rounded to 8 bits, real images of all scores too; "
    "U-Net of 16, 32 and 32 channels; 1200 iterations of 64 images at learning rate 0.003, 100 of them warm-up, then a "
    "straight line to zero; averaged weights (decay 0.99); 1000 samples by dopri5, the first 500 of them for FID "
    "against NFE, against 5000 training images; likelihood of 10 test images.",
    "gpu": "U-Net of 64, 128 and 128 channels; 15000 iterations of 256 images at learning rate 0.001, 500 of them "
    "warm-up, then a straight line to zero; averaged weights (decay 0.999); 10000 samples by dopri5, the first 5000 of "
    "them for FID against NFE, against 10000 training images; likelihood of 500 test images.",
    "paper": "No dropout, which tong2024improving have at 0.1; images dequantised in training; features of the "
    "Inception network by torch-fidelity; degree one of the polynomial decay, which lipman2023flow do not print.",
}

IMAGES = Experiment(
    name="flow_matching.images",
    task="images",
    seeded_by=("data", "pool"),
    title="Flow Matching on images",
    config=FlowMatchingImageConfig(),
    run="replications.flow_matching.experiments.images.run:run",
    variants=VARIANTS,
    tiers=TIERS,
    metrics=METRICS,
    data_fields=("data",),
    offered={
        name: ("paper",) if name.startswith("cifar10") else ("smoke", "cpu", "gpu") for name in VARIANTS
    },
    time_limits={"cpu": 1800.0},
    captions=CAPTIONS,
    departures=(
        Departure(
            "Images in training are dequantised, and FID is torch-fidelity's; theirs is TensorFlow-GAN's or clean-fid's"
        ),
        Departure("No dropout, which tong2024improving have at 0.1", ("cifar10_*_cfm",)),
        Departure(
            "sigma_min is 0 and the decay of degree one: lipman2023flow print neither",
            ("cifar10_fm_*", "mnist_*"),
        ),
        Departure("No training on MNIST is published", ("mnist_*",)),
    ),
    figures={
        "samples": "replications.flow_matching.experiments.images.figures:samples",
        "nfe": "replications.flow_matching.experiments.images.figures:nfe",
        "training": "replications.flow_matching.experiments.images.figures:training",
    },
)
