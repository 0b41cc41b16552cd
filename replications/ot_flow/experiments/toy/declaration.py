"""What OT-Flow's experiment on two-dimensional densities is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.experiment import Departure, Experiment
from replications.ot_flow.config import METHOD_FIELDS, PeriodicConfig
from replications.tasks.config import at_least
from replications.tasks.density2d.declaration import METRICS, Density2dTest


@dataclass(frozen=True)
class OTFlowToyConfig(PeriodicConfig, Density2dTest):
    """Settings of OT-Flow on a 2-D density; the defaults and the variants are the published ones.

    Args:
        redrawn: iterations for which a batch is kept.
        validation_points: points of a validation.
        path_times: times at which a path of the picture is recorded.
    """

    learning_rate: float = 0.05
    iterations: int = 5000
    batch: int = 5000
    redrawn: int = 25
    validation_points: int = 5000
    path_times: int = 9

    def __post_init__(self) -> None:
        PeriodicConfig.__post_init__(self)
        Density2dTest.__post_init__(self)
        at_least(self, redrawn=1, validation_points=1, path_times=2)


def _variant(data: str, alpha_C: float, alpha_R: float, own_steps: int = 12, **more: Any) -> dict[str, Any]:
    steps = {"validation_steps": own_steps, "own_steps": own_steps}
    return {"data": data, "alpha_C": alpha_C, "alpha_R": alpha_R, **steps, **more}


VARIANTS: dict[str, Mapping[str, Any]] = {
    "8gaussians": _variant("8gaussians", 30.0, 1.0, learning_rate=0.1, periods=10),
    "checkerboard": _variant("checkerboard", 15.0, 2.0, 16, steps=12, periods=20),
    "checkerboard_published": _variant(
        "checkerboard", 15.0, 2.0, 16, steps=12, periods=20, iterations=20_000, batch=10_000
    ),
    "swissroll": _variant("swissroll", 30.0, 15.0, 16),
    "circles": _variant("circles", 5.0, 1.0),
    "moons": _variant("moons", 8.0, 1.0),
    "pinwheel": _variant("pinwheel", 30.0, 15.0),
    "2spirals": _variant("2spirals", 10.0, 1.0),
}

TIERS: dict[str, Mapping[str, Any]] = {
    "smoke": {
        "iterations": 2, "batch": 16, "width": 8, "test_points": 40, "compared": 40, "grid": 10,
        "validation_points": 16, "double": False,
    },
    "cpu": {
        "iterations": 1000, "batch": 512, "redrawn": 1, "validation_points": 2000, "double": False,
    },
    "gpu": {"compiled": True},
    "paper": {},
}  # fmt: skip

TOY = Experiment(
    name="ot_flow.toy",
    task="density2d",
    seeded_by=("data",),
    removed={**METHOD_FIELDS, "hidden": (64, 64, 64)},
    title="OT-Flow on two-dimensional densities",
    config=OTFlowToyConfig(),
    run="replications.ot_flow.experiments.toy.run:run",
    variants=VARIANTS,
    tiers=TIERS,
    offered={"checkerboard": ("smoke", "cpu", "gpu"), "checkerboard_published": ("paper",)},
    metrics=(*METRICS, "transport_cost", "hjb_residual", "straightness"),
    figures={
        "densities": "replications.tasks.figures:densities",
        "paths": "replications.ot_flow.experiments.toy.figures:paths",
        "training": "replications.tasks.figures:training",
    },
    departures=(
        Departure(
            "Points are independent draws; the code has as many of each part, on circles and moons equally spaced "
            "before the noise",
            ("circles", "moons", "pinwheel", "2spirals"),
        ),
        Departure("A quarter of the code's iterations and half of its points", ("checkerboard",)),
    ),
    captions={
        "cpu": "1000 iterations of 512 fresh points in float32, where the published code takes 5000 of 5000 points "
        "(checkerboard 20,000 of 10,000) in float64, kept for 25 iterations; the rate falls at the same shares.",
        "gpu": "Checkerboard: 5000 iterations of 5000 points, where the published code takes 20,000 of 10,000.",
    },
)
