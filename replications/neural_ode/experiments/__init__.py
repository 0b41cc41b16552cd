"""What the Neural ODE experiments are: settings, variants, tiers and reported metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.experiment import Experiment

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


@dataclass(frozen=True)
class ScalingConfig:
    """Settings of `neural_ode.scaling`.

    Args:
        model: `ode`, or `resnet` for as many residual layers as the others take steps.
        gradient: of `ode`: `backprop`, `adjoint` or `checkpoint`.
        batch: B, states integrated together.
        dim: D, dimension of a state.
        hidden: widths of the field's hidden layers.
        gain: factor on the field's initial weights; makes the trajectories bend.
        steps: numbers of RK4 steps, or of residual layers.
        tolerances: relative and absolute tolerances of dopri5.
        reference_tolerance: of the solve that stands for the exact solution.
        repeats: timed repeats of each measurement.
    """

    model: str = "ode"
    gradient: str = "backprop"
    batch: int = 128
    dim: int = 64
    hidden: tuple[int, ...] = (64, 64)
    gain: float = 3.0
    steps: tuple[int, ...] = (5, 10, 20, 40, 80)
    tolerances: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
    reference_tolerance: float = 1e-11
    repeats: int = 5


@dataclass(frozen=True)
class PlanarConfig:
    """Settings of `neural_ode.planar_cnf`; iterations, optimizers and tolerance are the paper's, the rest is ours.

    Args:
        target: an energy of `bench.data.energies2d`, matched, or a set of `bench.data.toy2d`, by maximum likelihood.
        method: `cnf`, `nf`, or `nf_shrunk` for layers that start as strong contractions.
        units: M hidden units of `cnf`, K layers of the others.
        gate_hidden: hidden units of the network of the gates sigma(t).
        tolerance: relative and absolute tolerance of dopri5.
        batch: points an iteration.
        cnf_iterations: of Adam.
        cnf_learning_rate: of Adam, as in the authors' later example.
        nf_iterations: of RMSprop.
        nf_learning_rate: of RMSprop, as in the paper of planar flows.
        nf_momentum: of RMSprop, likewise.
        test_points: points of the free energy or the test NLL.
        grid: points a side of the quadrature of the total mass.
    """

    target: str = "energy1"
    method: str = "cnf"
    units: int = 64
    gate_hidden: int = 32
    tolerance: float = 1e-5
    batch: int = 512
    cnf_iterations: int = 10_000
    cnf_learning_rate: float = 1e-3
    nf_iterations: int = 500_000
    nf_learning_rate: float = 1e-5
    nf_momentum: float = 0.9
    test_points: int = 20_000
    grid: int = 241


SHOWN_REACH, SHOWN_SIDE = 4.0, 40
"""A record's picture of a density: the midpoints of SHOWN_SIDE^2 equal cells of (-SHOWN_REACH, SHOWN_REACH)^2."""

SMALL: dict[str, Any] = {
    "pool": 2, "padding": 0, "learning_rate": 0.05, "milestones": (0.8,), "validate_every": 0,
    "tight_tolerance": 1e-5,
}  # fmt: skip
TINY: dict[str, Any] = {"batch": 8, "dim": 4, "hidden": (8,)}
LARGE: dict[str, Any] = {"batch": 4096, "dim": 256, "hidden": (256, 256)}

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
        "test_error", "parameters", "train_loss", "nfe_forward", "nfe_backward", "nfe_ratio", "nfe_test",
        "trend_slope", "gradient_error", "peak_memory", "iteration_time", "train_time",
    ),
    data_fields=("data",),
    figures={"training": "replications.neural_ode.experiments.figures:training"},
    time_limits={"cpu": 600.0},
)  # fmt: skip

SCALING = Experiment(
    name="neural_ode.scaling",
    seeded_by=("batch", "dim"),
    title="Memory, time, evaluations and error against solver steps and tolerance",
    config=ScalingConfig(),
    run="replications.neural_ode.experiments.scaling.run:run",
    variants={
        "resnet": {"model": "resnet"},
        "backprop": {"gradient": "backprop"},
        "adjoint": {"gradient": "adjoint"},
        "checkpoint": {"gradient": "checkpoint"},
    },
    tiers={
        "smoke": TINY | {"steps": (2, 4), "tolerances": (1e-2, 1e-4), "repeats": 1},
        "cpu": {},
        "gpu": LARGE | {"steps": (5, 10, 20, 40, 80, 160)},
        "paper": LARGE | {"steps": (5, 10, 20, 40, 80, 160, 320)},
    },
    metrics=(
        "memory_slope", "time_slope", "scaling_exponent", "ratio", "peak_memory", "forward_backward_time",
        "nfe_forward", "nfe_backward", "nfe_ratio", "gradient_error", "final_error",
    ),
    figures={
        "cost": "replications.neural_ode.experiments.figures:cost_of_steps",
        "tolerance": "replications.neural_ode.experiments.figures:tolerance",
    },
)  # fmt: skip

PLANAR_CNF = Experiment(
    name="neural_ode.planar_cnf",
    seeded_by=("target",),
    title="Continuous planar flow against a planar flow of layers",
    config=PlanarConfig(),
    run="replications.neural_ode.experiments.planar_cnf.run:run",
    variants={
        f"{target}_{method}_{units}": {"target": target, "method": method, "units": units}
        for target in ("energy1", "energy2", "energy3")
        for method in ("nf", "cnf")
        for units in (2, 8, 32)
    }
    | {
        f"{target}_{method}": {"target": target, "method": method, "units": 64}
        for target in ("circles", "moons")
        for method in ("nf", "nf_shrunk", "cnf")
    },
    tiers={
        "smoke": {
            "batch": 16, "cnf_iterations": 3, "nf_iterations": 10, "test_points": 100, "grid": 31,
        },
        "cpu": {
            "cnf_iterations": 1000, "cnf_learning_rate": 1e-2, "nf_iterations": 10_000, "nf_learning_rate": 5e-4,
        },
        "gpu": {"nf_iterations": 100_000, "nf_learning_rate": 5e-5},
        "paper": {},
    },
    offered={
        f"energy{n}_{method}_{units}": ("smoke", "gpu", "paper")
        for n in (2, 3)
        for method in ("nf", "cnf")
        for units in (2, 8, 32)
    },
    metrics=(
        "kl", "free_energy", "nll", "mass_error", "inversion_error", "nll_error", "parameters", "train_loss",
        "nfe_forward", "nfe_backward", "nfe_test", "iteration_time", "train_time", "peak_memory",
    ),
    figures={
        "densities": "replications.neural_ode.experiments.planar_cnf.figures:densities",
        "likelihood": "replications.neural_ode.experiments.planar_cnf.figures:likelihood",
        "kl": "replications.neural_ode.experiments.planar_cnf.figures:kl",
    },
    captions={
        "cpu": (
            "Scaled down: 1,000 iterations of the continuous flows for 10,000, and 10,000 of the layers for 500,000, "
            "with learning rates larger by the same factors."
        ),
        "gpu": "The layers train for 100,000 iterations of the paper's 500,000, at five times the learning rate.",
    },
)  # fmt: skip

EXPERIMENTS = (MNIST, SCALING, PLANAR_CNF)
