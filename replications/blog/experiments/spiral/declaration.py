"""What `blog.spiral` is: Experiment 1. Each argument says whether a setting is documented or ours."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Departure, Experiment


@dataclass(frozen=True)
class Spiral:
    """Settings of `blog.spiral`; documented are the adjoint and dopri5, the rest is ours.

    Args:
        gradient: documented `adjoint`; our variant `checkpoint`.
        matrix: A by rows; the document only says linear, two-dimensional and spiral.
        start: y(0).
        horizon: length of the observed trajectory.
        observations: equally spaced times on it, without noise.
        segment: observation steps from a training segment's start to its end, where the loss is taken.
        batch: segments an iteration.
        width: units of both hidden layers (tanh, no time).
        iterations: steps of Adam.
        learning_rate: highest, cosine to zero.
        rtol: relative tolerance of dopri5 in training.
        atol: absolute tolerance in training.
        test_tolerance: both tolerances in evaluation.
        unseen: number of starts that were not trained on.
        unseen_radii: least and greatest distance of those from the origin, within the observed spiral's range.
    """

    gradient: str = "adjoint"
    matrix: tuple[float, ...] = (-0.1, 2.0, -2.0, -0.1)
    start: tuple[float, ...] = (2.0, 0.0)
    horizon: float = 10.0
    observations: int = 101
    segment: int = 5
    batch: int = 64
    width: int = 64
    iterations: int = 400
    learning_rate: float = 2e-2
    rtol: float = 1e-4
    atol: float = 1e-5
    test_tolerance: float = 1e-6
    unseen: int = 16
    unseen_radii: tuple[float, ...] = (0.8, 1.8)


SPIRAL = Experiment(
    name="blog.spiral",
    title="Experiment 1: a neural ODE learns a linear spiral",
    config=Spiral(),
    run="replications.blog.experiments.spiral.run:run",
    variants={"adjoint": {"gradient": "adjoint"}, "checkpoint": {"gradient": "checkpoint"}},
    tiers={"smoke": {"iterations": 3, "observations": 21, "segment": 1, "unseen": 2}, "cpu": {}},
    metrics=(
        "trajectory_error", "mean_error", "final_error", "parameter_error", "train_loss",
        "nfe_forward", "nfe_backward", "nfe_test", "evaluation_time", "iteration_time",
        "train_time", "warmup_time", "data_time",
    ),
    departures=(
        Departure("Matrix, network, learning rate, iterations and tolerance are ours: the post prints none"),
    ),
    figures={
        "trajectories": "replications.blog.experiments.spiral.figures:trajectories",
        "phase_portrait": "replications.blog.experiments.spiral.figures:phase_portrait",
        "loss": "replications.blog.experiments.spiral.figures:spiral_loss",
    },
)  # fmt: skip
