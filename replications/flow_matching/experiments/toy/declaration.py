"""What the experiment of Flow Matching on two-dimensional densities is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.experiment import Departure, Experiment
from replications.tasks.config import at_least

NORMAL = "normal"
"""The source N(0, I)."""
CNF = "cnf"
"""Maximum likelihood, for comparison."""


@dataclass(frozen=True)
class FlowMatchingToyConfig:
    """Settings of a velocity between 2-D densities; the defaults are those of the code of tong2024improving.

    Args:
        source: law of x0: `normal`, or a set of `bench.data.toy2d`.
        data: law of x1, a set of `bench.data.toy2d`.
        method: of `replications.flow_matching.method.METHODS`, or `cnf`.
        sigma: of the method, unless it is a diffusion or `cnf`.
        hidden: widths of the hidden layers, SELU, time at the input.
        optimizer: `adamw` or `adam`.
        iterations: optimizer steps.
        batch: pairs an iteration.
        learning_rate: of the optimizer.
        weight_decay: of the optimizer.
        train_points: points of the data, and of a source that is a set; 0 for fresh ones in each iteration.
        test_points: fresh points of the likelihood, which only a flow from the normal source has.
        compared: fresh points of each side where samples and data are compared.
        own_steps: of Euler, in the test of the code, and in the training of `cnf`.
        euler_steps: for W2 against NFE.
        midpoint_steps: the same by the midpoint rule, with pictures (lipman2023flow, figure 4).
        path_times: times at which paths are measured.
        repeats: how often sampling and coupling are timed.

    Raises:
        UserError: too few points or times.
    """

    source: str = NORMAL
    data: str = "moons-cfm"
    method: str = "ot-cfm"
    sigma: float = 0.1
    hidden: tuple[int, ...] = (64, 64, 64)
    optimizer: str = "adamw"
    iterations: int = 20_000
    batch: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    train_points: int = 10_000
    test_points: int = 10_000
    compared: int = 1000
    own_steps: int = 100
    euler_steps: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    midpoint_steps: tuple[int, ...] = ()
    path_times: int = 101
    repeats: int = 5

    def __post_init__(self) -> None:
        at_least(self, compared=40, test_points=2, path_times=2, iterations=1, batch=1)


NOTEBOOK: Mapping[str, Any] = {"optimizer": "adam", "weight_decay": 0.0, "batch": 256, "train_points": 0}
"""How the tutorials of that code train, in place of its runner: by Adam, on fresh points in each iteration."""

LAWS: dict[str, Mapping[str, Any]] = {
    "8gaussians": {"data": "8gaussians-cfm"},
    "moons": {"data": "moons-cfm"},
    "scurve": {"data": "scurve"},
    "checkerboard": {"data": "checkerboard", "midpoint_steps": (2, 4, 5)},
    "moons_to_8gaussians": {"source": "moons-bridge", "data": "8gaussians-bridge"},
    "8gaussians_to_moons": {"source": "8gaussians-notebook", "data": "moons-notebook", **NOTEBOOK},
    "noise_to_moons": {"data": "moons-notebook", **NOTEBOOK},
}
METHODS = {
    "8gaussians": ("fm-ot", "fm-vp", "i-cfm", "ot-cfm", "sb-cfm"),
    "moons": ("fm-ot", "fm-vp", "i-cfm", "ot-cfm"),
    "scurve": ("fm-ot", "fm-vp", "i-cfm", "ot-cfm"),
    "checkerboard": ("fm-ot", "fm-vp", "i-cfm", "ot-cfm"),
    "moons_to_8gaussians": ("i-cfm", "ot-cfm"),
    "8gaussians_to_moons": ("i-cfm", "ot-cfm"),
    "noise_to_moons": (CNF,),
}
SPECIFIC: dict[str, Mapping[str, Any]] = {
    "sb-cfm": {"sigma": 1.0},
    "checkerboard_fm-ot": {"sigma": 0.0},
    CNF: {"iterations": 1000},
}
"""Settings of a method, or of one between two laws: lipman2023flow prints no sigma_min but that it is small."""

PUBLISHED = "checkerboard_published"
WIDE = {"hidden": (512,) * 5}
"""The network of lipman2023flow, figure 4, which prints neither its learning rate nor its iterations."""


def _variants() -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for laws, methods in METHODS.items():
        for method in methods:
            specific = {**SPECIFIC.get(method, {}), **SPECIFIC.get(f"{laws}_{method}", {})}
            found[f"{laws}_{method.replace('-', '_')}"] = {**LAWS[laws], "method": method, **specific}
    for method in ("fm_ot", "fm_vp"):
        found[f"{PUBLISHED}_{method}"] = {**found[f"checkerboard_{method}"], **WIDE}
    return found


TIERS: dict[str, Mapping[str, Any]] = {
    "smoke": {
        "iterations": 2, "batch": 16, "train_points": 40, "test_points": 40, "compared": 40, "own_steps": 4,
        "euler_steps": (1, 2), "path_times": 5, "repeats": 1,
    },
    "cpu": {"iterations": 4000, "batch": 256, "test_points": 2000},
    "gpu": {},
    "paper": {},
}  # fmt: skip

METRICS = (
    "wasserstein2", "sliced_wasserstein2", "mmd", "c2st", "path_energy", "straightness", "nfe", "nll", "bits_per_dim",
    "nfe_test", "inversion_error", "iteration_time",
    "train_time", "warmup_time", "data_time", "evaluation_time", "train_loss", "nfe_forward", "nfe_backward",
    "sampling_time", "loglik_time", "peak_memory", "parameters",
)  # fmt: skip

TOY = Experiment(
    name="flow_matching.toy",
    task="density2d",
    seeded_by=("data", "source"),
    title="Flow Matching on two-dimensional densities",
    config=FlowMatchingToyConfig(),
    run="replications.flow_matching.experiments.toy.run:run",
    variants=_variants(),
    tiers=TIERS,
    offered={
        **{f"{PUBLISHED}_{method}": ("gpu", "paper") for method in ("fm_ot", "fm_vp")},
        f"noise_to_moons_{CNF}": ("paper",),
    },
    metrics=METRICS,
    figures={
        "samples": "replications.flow_matching.experiments.toy.figures:samples",
        "few_steps": "replications.flow_matching.experiments.toy.figures:few_steps",
        "paths": "replications.flow_matching.experiments.toy.figures:paths",
        "w2_against_nfe": "replications.flow_matching.experiments.toy.figures:w2_against_nfe",
        "training": "replications.flow_matching.experiments.toy.figures:training",
    },
    departures=(
        Departure(
            "Points are independent draws; those of moons, S-curves and of the runner's eight Gaussians are equally "
            "spaced there before the noise, or as many of each part",
            ("8gaussians_*", "moons_*", "scurve_*", "noise_to_moons_*"),
        ),
        Departure(
            "The last weights are tested; the runner tests those that are best on its validation points",
            ("8gaussians_[!t]*", "moons_*", "scurve_*"),
        ),
        Departure(
            "Each point of the data has one partner; the code draws pairs of the plan with replacement",
            ("*ot_cfm", "*sb_cfm"),
        ),
        Departure(
            "tong2024improving have no diffusion path on these sets",
            ("8gaussians_fm_vp", "moons_fm_vp", "scurve_fm_vp"),
        ),
        Departure(
            "Learning rate, iterations, batch and sigma_min are ours: lipman2023flow print none",
            ("checkerboard_*",),
        ),
        Departure("Three layers of 64; lipman2023flow have five of 512", ("checkerboard_[!p]*",)),
    ),
    captions={
        "cpu": "4000 iterations of 256 pairs, where the published code takes 20,000 of 512 (8 gaussians to "
        "moons: of 256); the checkerboard by three layers of 64, where the paper has five of 512.",
    },
)
