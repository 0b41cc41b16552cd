"""What the blog's experiments are: settings, variants, tiers and reported metrics.

The post documents networks, solvers and results, but its formulas and most numbers did not survive in the text at
hand. Each argument below says whether a setting is documented or ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Experiment
from replications.blog.experiments.fm_vs_cnf.declaration import FM_VS_CNF
from replications.tasks.density2d.declaration import CAPTIONS as FLOW_CAPTIONS
from replications.tasks.density2d.declaration import METRICS as FLOW_METRICS
from replications.tasks.density2d.declaration import TIERS as FLOW_TIERS
from replications.tasks.density2d.declaration import Density2dConfig


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


@dataclass(frozen=True)
class AdjointMemory:
    """Settings of `blog.adjoint_memory`; documented: CIFAR-10, pretrained features, five layers, 100 steps, dopri5.

    Args:
        data: `cifar10` as documented, `mnist` or `digits`.
        train_images: the first so many training images are used, or all there are.
        gradient: `backprop`, `adjoint` or `checkpoint`.
        adaptive: dopri5 in place of the fixed steps.
        fixed_method: ours: Euler. The post names none; its times (fixed : adaptive = 3.1 : 2.8) put 100 steps near
            the cost of an adaptive solve, which leaves one evaluation a step.
        steps: documented.
        tolerance: rtol = atol of dopri5, ours.
        layers: linear layers of the velocity field, documented.
        width: hidden units, ours.
        features: D, ours.
        batch: ours, for the extractor too.
        iterations: of the classifier's training, ours.
        learning_rate: of Adam, cosine to zero, ours.
        stages: widths of the extractor's stages, ours.
        convolutions: convolutions a stage, ours.
        extractor_iterations: ours.
        extractor_lr: of Adam, cosine to zero, ours.
        crop_padding: random crops in the extractor's training, 0 for none, ours.
        repeats: timed passes.
        large_batch: memory is compared at this batch too.
    """

    data: str = "cifar10"
    train_images: int = 50_000
    gradient: str = "adjoint"
    adaptive: bool = False
    fixed_method: str = "euler"
    steps: int = 100
    tolerance: float = 1e-3
    layers: int = 5
    width: int = 512
    features: int = 256
    batch: int = 256
    iterations: int = 2000
    learning_rate: float = 1e-3
    stages: tuple[int, ...] = (64, 128, 256)
    convolutions: int = 2
    extractor_iterations: int = 4000
    extractor_lr: float = 1e-3
    crop_padding: int = 4
    repeats: int = 20
    large_batch: int = 2048


@dataclass(frozen=True)
class Theory:
    """Settings of `blog.theory`, all ours: the post states theorems and no numbers.

    Args:
        part: `picard`, `liouville`, `density` or `sign_flip`.
        horizon: T, every flow and iteration runs over [0, T] (the sign flip over [0, 1]).
        iterates: Picard iterates.
        restarts: Picard iterates of the equation with two solutions, which converge by halves only.
        nodes: Chebyshev points in time.
        lipschitz: L of the random linear system, its spectral norm.
        tolerances: rtol = atol of dopri5, downwards.
        boundary_points: of the transported disc.
        sample: points at which determinants and densities are compared.
        grid: points of the sign flip's data on [-1, 1].
        width: units of both hidden layers of the sign flip's field.
        iterations: of Adam.
        learning_rate: highest, cosine to zero.
        train_tolerance: rtol = atol of dopri5 while the sign flip is trained.
    """

    part: str = "picard"
    horizon: float = 1.5
    iterates: int = 24
    restarts: int = 40
    nodes: int = 48
    lipschitz: float = 2.0
    tolerances: tuple[float, ...] = (1e-3, 1e-5, 1e-7, 1e-9)
    boundary_points: int = 128
    sample: int = 256
    grid: int = 32
    width: int = 16
    iterations: int = 80
    learning_rate: float = 1e-2
    train_tolerance: float = 1e-4


SPIRAL = Experiment(
    name="blog.spiral",
    title="Experiment 1: a neural ODE learns a linear spiral",
    config=Spiral(),
    run="replications.blog.experiments.spiral.run:run",
    variants={"adjoint": {"gradient": "adjoint"}, "checkpoint": {"gradient": "checkpoint"}},
    tiers={"smoke": {"iterations": 3, "observations": 21, "segment": 1, "unseen": 2}, "cpu": {}},
    metrics=(
        "trajectory_error", "mean_error", "final_error", "parameter_error", "train_loss",
        "nfe_forward", "nfe_backward", "nfe_test", "iteration_time", "train_time",
    ),
    figures={
        "trajectories": "replications.blog.experiments.figures:trajectories",
        "phase_portrait": "replications.blog.experiments.figures:phase_portrait",
        "loss": "replications.blog.experiments.figures:spiral_loss",
    },
)  # fmt: skip

# Documented are FFJORD, Hutchinson's estimator and dopri5; network, end time and training are those of FFJORD's code.
CRESCENT = Experiment(
    name="blog.crescent",
    task="density2d",
    seeded_by=("data",),
    removed={"kinetic": 0.0, "jacobian": 0.0, "spread": 0.0},
    title="Experiment 2: FFJORD carries a normal density to a crescent",
    config=Density2dConfig(data="crescent"),
    run="replications.blog.experiments.crescent.run:run",
    variants={kind: {"divergence": kind} for kind in ("rademacher", "gaussian", "exact")},
    tiers=FLOW_TIERS,
    metrics=tuple(name for name in FLOW_METRICS if name != "overhead"),  # there is no other method beside it
    figures={
        "samples": "replications.blog.experiments.crescent.figures:samples",
        "transport": "replications.blog.experiments.crescent.figures:transport",
        "training": "replications.tasks.figures:training",
    },
    captions=FLOW_CAPTIONS,
)

WAYS = {
    "backprop": {"gradient": "backprop", "adaptive": False},
    "adjoint_fixed": {"gradient": "adjoint", "adaptive": False},
    "adjoint_adaptive": {"gradient": "adjoint", "adaptive": True},
    "checkpoint_fixed": {"gradient": "checkpoint", "adaptive": False},
    "checkpoint_adaptive": {"gradient": "checkpoint", "adaptive": True},
}

SMALL = {
    "data": "mnist", "train_images": 10_000, "width": 64, "features": 64, "batch": 128, "iterations": 20,
    "learning_rate": 1e-2, "stages": (8, 16), "convolutions": 1, "extractor_iterations": 100, "extractor_lr": 1e-2,
    "crop_padding": 0, "repeats": 5, "large_batch": 1024,
}  # fmt: skip

TINY = {
    "iterations": 2,
    "extractor_iterations": 3,
    "repeats": 1,
    "large_batch": 256,
    "steps": 5,
    "width": 16,
    "features": 8,
}

ADJOINT_MEMORY = Experiment(
    name="blog.adjoint_memory",
    task="images",
    seeded_by=("data", "train_images"),
    title="Experiment 3: memory and time of backpropagation, the adjoint and checkpointing",
    config=AdjointMemory(),
    run="replications.blog.experiments.adjoint_memory.run:run",
    variants=WAYS | {f"digits_{name}": way | {"data": "digits"} for name, way in WAYS.items()},
    tiers={
        "smoke": SMALL | TINY,
        "cpu": SMALL,
        "gpu": {"iterations": 500, "extractor_iterations": 2000},
        "paper": {},
    },
    metrics=(
        "peak_memory", "forward_backward_time", "test_accuracy", "overhead", "nfe_forward", "nfe_backward", "nfe_test",
        "resident_memory", "train_loss", "train_time", "parameters",
    ),
    data_fields=("data",),
    figures={"memory_time": "replications.blog.experiments.figures:memory_time"},
)  # fmt: skip

THEORY = Experiment(
    name="blog.theory",
    seeded_by=("part",),
    title="The tutorial's theorems against closed forms",
    config=Theory(),
    run="replications.blog.experiments.theory.run:run",
    variants={part: {"part": part} for part in ("picard", "liouville", "density", "sign_flip")},
    tiers={"smoke": {"iterations": 3, "tolerances": (1e-3, 1e-5), "sample": 8}, "cpu": {}},
    metrics=("max_error", "contraction_factor", "volume_error", "density_error", "ratio", "nfe"),
    figures={
        "picard": "replications.blog.experiments.figures:picard",
        "liouville": "replications.blog.experiments.figures:liouville",
        "density": "replications.blog.experiments.figures:density",
        "sign_flip": "replications.blog.experiments.figures:sign_flip",
    },
)

EXPERIMENTS = (SPIRAL, CRESCENT, ADJOINT_MEMORY, FM_VS_CNF, THEORY)
