"""What OT-Flow's experiment on digits is: an autoencoder, and a flow in its latent space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.experiment import Departure, Experiment
from replications.ot_flow.config import METHOD_FIELDS, PeriodicConfig
from replications.tasks.config import at_least


@dataclass(frozen=True)
class OTFlowMnistConfig(PeriodicConfig):
    """Settings of OT-Flow on images; the defaults are those of the authors' code (`trainMnistOTflow.py`).

    Two faults of that code's training of the autoencoder are not repeated: it takes optimizer steps on the validation
    images too, and what it keeps as the best weights is a reference to them, so that the last ones are used.

    Args:
        data: a set of `bench.data.images`.
        standardised: encode (x - mean) / std of the set's pixels, and compare the decoder's output with them, although
            a sigmoid reaches no value outside 0..1; else both as for pixels in 0..1.
        latent: d.
        epochs: of the autoencoder.
        autoencoder_rate: its learning rate, divided by 10 after each quarter.
        autoencoder_batch: images an iteration of it.
        validation_images: training images held out; they choose the weights of both networks, and train neither.
        test_images: the first so many test images; 0 for all.
        generated: latent points drawn for the MMD, at most as many as there are test images.
        checked: test images on which inversion, solver error and regularity are measured.
        test_batch: latent points solved together.
    """

    data: str = "mnist"
    standardised: bool = True
    latent: int = 128
    width: int = 128
    epochs: int = 600
    autoencoder_rate: float = 1e-3
    autoencoder_batch: int = 800
    validation_images: int = 10_000
    test_images: int = 0
    alpha_C: float = 80.0
    alpha_R: float = 500.0
    validation_steps: int = 16
    own_steps: int = 16
    clamp: float = 2.0
    learning_rate: float = 0.008
    iterations: int = 50_000
    batch: int = 800
    drop: float = math.sqrt(10)
    periods: int = 10
    validate_every: int = 20
    generated: int = 3000
    checked: int = 50
    test_batch: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, latent=1, epochs=1, autoencoder_batch=1, validation_images=1)
        at_least(self, test_images=0, generated=4, checked=1, test_batch=1)


TIERS: dict[str, Mapping[str, Any]] = {
    "smoke": {
        "latent": 4, "width": 4, "epochs": 1, "autoencoder_batch": 10_000, "iterations": 2, "batch": 8, "steps": 2,
        "validation_images": 100, "test_images": 20, "validation_steps": 2, "own_steps": 4, "double": False,
        "checked": 4,
    },
    "cpu": {
        "epochs": 8, "autoencoder_batch": 200, "iterations": 100, "batch": 64, "steps": 4, "validation_images": 500,
        "validation_steps": 8, "validate_every": 25, "test_images": 500, "double": False, "checked": 10,
    },
    "gpu": {"iterations": 10_000, "validate_every": 100, "double": False, "compiled": True},
    "paper": {},
}  # fmt: skip

MNIST = Experiment(
    name="ot_flow.mnist",
    task="images",
    seeded_by=("data",),
    removed=METHOD_FIELDS,
    title="OT-Flow of digits in the latent space of an autoencoder",
    config=OTFlowMnistConfig(),
    run="replications.ot_flow.experiments.mnist.run:run",
    variants={"standardised": {"standardised": True}, "unit_pixels": {"standardised": False}},
    tiers=TIERS,
    metrics=(
        "reconstruction_error", "nll", "bits_per_dim", "transport_cost", "hjb_residual", "straightness", "nll_error",
        "inversion_error", "mmd", "nfe_forward", "nfe_backward", "nfe_test", "iteration_time", "evaluation_time",
        "train_time", "warmup_time", "data_time",
        "kinetic_energy", "jacobian_norm", "peak_memory", "loglik_time", "sampling_time", "parameters",
        "train_loss",
    ),
    data_fields=("data",),
    figures={
        "samples": "replications.ot_flow.experiments.mnist.figures:samples",
        "reconstructions": "replications.ot_flow.experiments.mnist.figures:reconstructions",
        "interpolation": "replications.ot_flow.experiments.mnist.figures:interpolation",
        "training": "replications.tasks.figures:training",
    },
    departures=(
        Departure(
            "The autoencoder never trains on validation images and keeps its best weights; the code's does, and keeps "
            "its last"
        ),
        Departure("Pixels are in 0..1; the code standardises them", ("unit_pixels",)),
    ),
    captions={
        "cpu": "The published networks; autoencoder: 8 epochs of batches of 200 in place of 600 of 800; flow: 100 "
        "iterations of 64 by 4 steps in place of 50,000 of 800 by 8, which see 6250 times as many points, in float32, "
        "not float64; 500 images validate, not 10,000; tested on the first 500 test images.",
        "gpu": "The published networks and the whole training of the autoencoder; 10,000 iterations of the flow in "
        "place of 50,000, in float32 in place of float64.",
    },
)  # fmt: skip
