"""What `neural_ode.mnist` is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.experiment import Departure, Experiment

EPOCH = 469
"""Iterations an epoch of MNIST at batch 128, the last batch smaller."""


@dataclass(frozen=True)
class MnistConfig:
    """Settings of `neural_ode.mnist`; the defaults are those of the authors' published example.

    Args:
        data: data set.
        network: `mlp`, `resnet` or `ode`.
        gradient: of `ode`: `backprop` (RK-Net), `adjoint` (ODE-Net) or `checkpoint`.
        tolerance: relative and absolute tolerance of dopri5, forward and backward.
        tight_tolerance: the trained network is tested at this one too.
        iterations: optimizer steps.
        batch: images an iteration.
        learning_rate: of SGD, until the first milestone.
        momentum: of SGD.
        milestones: shares of the iterations after which the rate falls tenfold; epochs 60, 100, 140 of 160.
        padding: largest shift of the random crop, in pixels.
        pool: images are averaged over squares of so many pixels a side; 1 leaves them as they are.
        validate_every: iterations between points of the curve of the test error; 0 for the last one only.
        test_every: tests on every n-th test image; 1 for all.
    """

    data: str = "mnist"
    network: str = "ode"
    gradient: str = "adjoint"
    tolerance: float = 1e-3
    tight_tolerance: float = 1e-6
    iterations: int = 160 * EPOCH
    batch: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    milestones: tuple[float, ...] = (60 / 160, 100 / 160, 140 / 160)
    padding: int = 4
    pool: int = 1
    validate_every: int = EPOCH
    test_every: int = 1


SMALL: dict[str, Any] = {
    "pool": 2, "padding": 0, "learning_rate": 0.05, "milestones": (0.8,), "validate_every": 0,
    "tight_tolerance": 1e-5,
}  # fmt: skip

MNIST = Experiment(
    name="neural_ode.mnist",
    task="images",
    seeded_by=("data", "pool"),
    title="MNIST classification: residual network against ODE network",
    config=MnistConfig(),
    run="replications.neural_ode.experiments.mnist.run:run",
    variants={
        "mlp": {"network": "mlp", "gradient": "backprop", "pool": 1},
        "resnet": {"network": "resnet", "gradient": "backprop"},
        "rknet": {"network": "ode", "gradient": "backprop"},
        "odenet": {"network": "ode", "gradient": "adjoint"},
        "odenet_checkpoint": {"network": "ode", "gradient": "checkpoint"},
    },
    tiers={
        "smoke": SMALL | {"iterations": 2, "batch": 4, "test_every": 500},
        "cpu": SMALL | {"iterations": 300, "batch": 32, "test_every": 5},
        "gpu": {"iterations": 30 * EPOCH},
        "paper": {},
    },
    metrics=(
        "test_error", "test_accuracy", "parameters", "train_loss", "evaluation_time",
        "nfe_forward", "nfe_backward", "nfe_ratio", "nfe_test",
        "trend_slope", "gradient_error", "peak_memory", "iteration_time", "train_time", "warmup_time", "data_time",
    ),
    data_fields=("data",),
    figures={"training": "replications.neural_ode.experiments.mnist.figures:training"},
    time_limits={"cpu": 600.0},
    departures=(
        Departure(
            "Layers, training and solver are those of the authors' later example: the paper prints neither, but for an "
            "implicit Adams method"
        ),
        Departure("The last weights are tested; the example prints the best of all its tests"),
        Departure("An epoch keeps its last, smaller batch; the example drops it"),
    ),
)  # fmt: skip
