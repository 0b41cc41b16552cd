"""What the experiments on two-dimensional densities are: sets, settings, tiers, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.experiment import Experiment
from replications.tasks.config import FlowConfig, at_least

SETS = ("swissroll", "circles", "rings", "moons", "8gaussians", "pinwheel", "2spirals", "checkerboard")


@dataclass(frozen=True)
class Density2dTest:
    """What a flow on a 2-D density is tested on, whatever trained it.

    Args:
        data: a set of `bench.data.toy2d`.
        test_points: fresh points of the test.
        compared: points of each side where samples and data are compared.
        grid: points a side of the grid over [-reach, reach]^2 on which the density is integrated.
        reach: see `grid`.
        mass_tolerances: rtol = atol of the solves that are integrated, in float64.
    """

    data: str = "8gaussians"
    test_points: int = 10_000
    compared: int = 1000
    grid: int = 160
    reach: float = 6.0
    mass_tolerances: tuple[float, ...] = (1e-3, 1e-5)

    def __post_init__(self) -> None:
        at_least(self, grid=2, compared=40, test_points=40)


@dataclass(frozen=True)
class Density2dConfig(Density2dTest, FlowConfig):
    """Settings of a flow on a 2-D density; the defaults are FFJORD's published ones (`train_toy.py`).

    Args:
        hidden: widths of the hidden layers, tanh and concatsquash.
        validate_every: iterations between validations on fresh points, of which the best weights are kept; 0: the
            last weights are. FFJORD's code validates every 100.
    """

    T: float = 0.5
    hidden: tuple[int, ...] = (64, 64, 64)
    validate_every: int = 0

    def __post_init__(self) -> None:
        Density2dTest.__post_init__(self)
        FlowConfig.__post_init__(self)
        at_least(self, validate_every=0)


TIERS: dict[str, Mapping[str, Any]] = {
    "smoke": {
        "iterations": 2, "batch": 16, "hidden": (8, 8, 8), "test_points": 40, "compared": 40, "grid": 10,
        "repeats": 1,
    },
    "cpu": {"iterations": 300, "batch": 256, "learning_rate": 5e-3},
    "gpu": {},
    "paper": {},
}  # fmt: skip

METRICS = (
    "nll", "bits_per_dim", "nll_error", "nfe_forward", "nfe_backward", "nfe_test", "iteration_time", "evaluation_time",
    "train_time", "warmup_time", "data_time",
    "overhead", "kinetic_energy", "jacobian_norm", "mass_error", "inversion_error", "wasserstein2", "mmd",
    "c2st", "peak_memory", "loglik_time", "sampling_time", "parameters", "end_time", "train_loss",
)  # fmt: skip

CAPTIONS = {
    "cpu": "300 iterations of 256 points at learning rate 0.005, where the published code takes 10,000 of 100 at 0.001."
}


def density2d(
    name: str,
    title: str,
    run: str,
    config: Density2dConfig,
    variants: Mapping[str, Mapping[str, Any]],
    **history: Any,
) -> Experiment:
    """Return an experiment on 2-D densities; arguments as `Experiment`; `history`: what is left of them."""
    return Experiment(
        name=name,
        task="density2d",
        seeded_by=("data",),
        **history,
        title=title,
        config=config,
        run=run,
        variants=variants,
        tiers=TIERS,
        metrics=METRICS,
        figures={
            "densities": "replications.tasks.figures:densities",
            "training": "replications.tasks.figures:training",
        },
        captions=CAPTIONS,
    )
