"""What STEER's stiff equation is: settings, variants, tiers and reported metrics."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Departure, Experiment

INTERVAL = 15 / 119
"""Length of a training solve, from one of the 120 training times to the next."""


@dataclass(frozen=True)
class StiffConfig:
    """Settings of `steer.stiff`; the defaults are those of the authors' code, without a random end time.

    Args:
        stiffness: r of the equation y' = -r y + 3 r - 2 r e^-t.
        units: of both hidden layers, tanh.
        weight_std: standard deviation of the initial weights; biases start at zero.
        train_end: training times are equally spaced over [0, train_end].
        test_end: likewise for the test.
        points: number of each.
        end: of a training solve: `fixed` on the next training time, `uniform` or `normal` about it.
        b: half width of `uniform`, standard deviation of `normal`.
        own_times: solve each segment over its own times; otherwise all start at t = 0, as in the authors' code.
        iterations: steps of RMSprop.
        batch: segments an iteration, each with the same end.
        learning_rate: of RMSprop.
        rtol: relative tolerance of dopri5, in training and test.
        atol: absolute tolerance, likewise.
        test_every: iterations between tests.
    """

    stiffness: float = 1000.0
    units: int = 500
    weight_std: float = 0.1
    train_end: float = 15.0
    test_end: float = 25.0
    points: int = 120
    end: str = "fixed"
    b: float = 0.0
    own_times: bool = False
    iterations: int = 3000
    batch: int = 20
    learning_rate: float = 1e-4
    rtol: float = 1e-7
    atol: float = 1e-9
    test_every: int = 20


B = INTERVAL - 0.001
"""b of the authors' code: a solve is at least 0.001 long."""

STIFF = Experiment(
    name="steer.stiff",
    title="A network learns a stiff equation, with fixed and with random end times",
    config=StiffConfig(),
    run="replications.steer.experiments.stiff.run:run",
    variants={
        "standard": {},
        "steer": {"end": "uniform", "b": B},
        "steer_half_b": {"end": "uniform", "b": B / 2},
        "steer_tenth_b": {"end": "uniform", "b": B / 10},
        "gaussian": {"end": "normal", "b": 0.124},
        "standard_own_times": {"own_times": True},
        "steer_own_times": {"end": "uniform", "b": B, "own_times": True},
    },
    tiers={
        "smoke": {"iterations": 4, "units": 16, "batch": 4, "test_every": 2},
        "cpu": {},
        "paper": {},
    },
    metrics=(
        "mean_error", "ratio", "nfe_forward", "nfe_backward", "nfe_test", "iteration_time", "evaluation_time",
        "train_time", "warmup_time", "data_time", "train_loss", "parameters",
    ),
    figures={
        "errors": "replications.steer.experiments.stiff.figures:errors",
        "solutions": "replications.steer.experiments.stiff.figures:solutions",
    },
    captions={"cpu": "The published setting; the published results are plots."},
    renamed={"spread": "b"},
    departures=(
        Departure("Another b, or segments over their own times; the code has neither", ("*_b", "*_own_times")),
    ),
)  # fmt: skip
