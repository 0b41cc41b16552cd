"""What the lecture's experiments are: settings, variants, tiers and reported metrics."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Experiment


@dataclass(frozen=True)
class SolverConfig:
    """Settings of `lecture.solvers`.

    Args:
        method: a name of `replications.lecture.experiments.solvers.run.METHODS`.
        steps: numbers of equal steps over which the orders are fitted.
        tolerances: relative tolerances of the ladder; the absolute one is a tenth, as the lecture pairs them.
        stiff_tolerances: relative tolerances on the stiff problems.
        dim: dimension of the random linear system.
        rate: fast eigenvalue of the stiff linear system, whose slow one is 1.
        mu: van der Pol's parameter.
    """

    method: str = "dopri5"
    steps: tuple[int, ...] = (25, 50, 100, 200, 400)
    tolerances: tuple[float, ...] = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
    stiff_tolerances: tuple[float, ...] = (1e-3, 1e-6)
    dim: int = 4
    rate: float = 1000.0
    mu: float = 300.0


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


@dataclass(frozen=True)
class InversionConfig:
    """Settings of `lecture.inversion`.

    Args:
        field: a name of `replications.lecture.experiments.inversion.run.FIELDS`.
        dim: dimension of the state.
        width: hidden units of the notes' dynamics.
        batch: states integrated together.
        rtol: relative tolerance of dopri5, the notes' 1e-5.
        atol: absolute tolerance, the notes' 1e-5.
        max_nfe: evaluations after which a solve is given up.
        steps: of the solve with a fixed step.
    """

    field: str = "smooth"
    dim: int = 2
    width: int = 128
    batch: int = 64
    rtol: float = 1e-5
    atol: float = 1e-5
    max_nfe: int = 200_000
    steps: int = 40


SOLVERS = Experiment(
    name="lecture.solvers",
    seeded_by=("dim", "rate", "mu"),
    title="ODE solvers on problems with known solutions",
    config=SolverConfig(),
    run="replications.lecture.experiments.solvers.run:run",
    variants={
        "euler": {"method": "euler"},
        "midpoint": {"method": "midpoint"},
        "rk4": {"method": "rk4"},
        "rk4_38": {"method": "rk4_38"},
        "explicit_adams": {"method": "explicit_adams"},
        "implicit_adams": {"method": "implicit_adams"},
        "dopri5": {"method": "dopri5"},
        "bdf": {"method": "bdf"},
        "radau": {"method": "radau"},
    },
    tiers={
        "smoke": {
            "steps": (25, 50),
            "tolerances": (1e-3, 1e-5),
            "stiff_tolerances": (1e-3,),
            "rate": 100.0,
            "mu": 30.0,
        },
        "cpu": {},
    },
    metrics=(
        "order_observed", "order_local", "max_error", "mean_error", "nfe", "solve_time", "stability_limit",
        "trend_slope",
    ),
    figures={
        "work_precision": "replications.lecture.experiments.figures:work_precision",
        "order": "replications.lecture.experiments.figures:order",
        "tolerance_ladder": "replications.lecture.experiments.figures:tolerance_ladder",
        "stiff_cost": "replications.lecture.experiments.figures:stiff_cost",
    },
)  # fmt: skip

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
        "iteration_time", "train_time", "peak_memory", "memory_slope",
    ),
    data_fields=("data",),
    figures={"training": "replications.lecture.experiments.figures:training"},
)  # fmt: skip

INVERSION = Experiment(
    name="lecture.inversion",
    seeded_by=("dim", "batch"),
    title="Invertibility of flows, and a hand-written adjoint",
    config=InversionConfig(),
    run="replications.lecture.experiments.inversion.run:run",
    variants={
        "smooth": {"field": "smooth"},
        "relu": {"field": "relu"},
        "dropout": {"field": "dropout"},
    },
    tiers={"smoke": {"rtol": 1e-3, "atol": 1e-3}, "cpu": {}},
    metrics=("inversion_error", "nfe", "gradient_error"),
)

EXPERIMENTS = (SOLVERS, CLASSIFIER, INVERSION)
