"""What `neural_ode.planar_cnf` is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Departure, Experiment


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
        "nfe_forward", "nfe_backward", "nfe_test", "evaluation_time", "iteration_time",
        "train_time", "warmup_time", "data_time", "peak_memory",
    ),
    departures=(
        Departure("Base density, end time, batch, learning rates and initial values are ours: the paper prints none"),
        Departure("The gates are a network of t and the units do not depend on it", ("*_cnf*",)),
        Departure("A wall gives two energies without a finite integral one", ("energy[23]_*",)),
        Departure("The layers start as strong contractions", ("*_nf_shrunk",)),
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
