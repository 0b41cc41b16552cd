"""What `lecture.mnist` is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Departure, Experiment


@dataclass(frozen=True)
class ClassifierConfig:
    """Settings of `lecture.mnist`; the defaults are the lecture's.

    Args:
        data: `mnist` or `digits`.
        gradient: the lecture imports `odeint_adjoint`, hence `adjoint`; tier `cpu` takes `checkpoint`, which
            gives the exact gradient of the same computed solution in less time.
        rtol: relative tolerance of dopri5, forward and backward.
        atol: absolute tolerance.
        integration_time: T, the block integrates over [0, T].
        epochs: passes over the training set.
        max_iterations: ends the training early; 0 for never.
        batch: images an iteration.
        learning_rate: Adam's.
        memory_steps: numbers of Euler steps at which a training step's memory is measured.
    """

    data: str = "mnist"
    gradient: str = "adjoint"
    rtol: float = 1e-3
    atol: float = 1e-4
    integration_time: float = 1.0
    epochs: int = 5
    max_iterations: int = 0
    batch: int = 128
    learning_rate: float = 1e-3
    memory_steps: tuple[int, ...] = (5, 10, 20, 40)


CLASSIFIER = Experiment(
    name="lecture.mnist",
    task="images",
    seeded_by=("data",),
    title="The lecture's Neural ODE classifier",
    config=ClassifierConfig(),
    run="replications.lecture.experiments.mnist.run:run",
    variants={
        "mnist": {"data": "mnist"},
        "digits": {"data": "digits", "epochs": 20},
        "digits_adjoint": {"data": "digits", "epochs": 20, "gradient": "adjoint"},
        "digits_T4": {"data": "digits", "epochs": 20, "integration_time": 4.0},
    },
    tiers={
        "smoke": {"max_iterations": 5, "memory_steps": (2, 4)},
        "cpu": {"gradient": "checkpoint"},
        "gpu": {},
        "paper": {},
    },
    metrics=(
        "test_accuracy", "test_error", "train_loss", "parameters", "nfe_forward", "nfe_backward", "nfe_test",
        "iteration_time", "evaluation_time", "train_time", "warmup_time", "data_time", "peak_memory", "memory_slope",
    ),
    data_fields=("data",),
    departures=(Departure("Digits of scikit-learn for 20 epochs; the lecture has MNIST for 5", ("digits*",)),),
    figures={"training": "replications.lecture.experiments.mnist.figures:training"},
)  # fmt: skip
