"""What `neural_ode.scaling` is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.experiment import Departure, Experiment


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


TINY: dict[str, Any] = {"batch": 8, "dim": 4, "hidden": (8,)}

LARGE: dict[str, Any] = {"batch": 4096, "dim": 256, "hidden": (256, 256)}

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
    departures=(Departure("Field, batch, steps and tolerances are ours: the paper states complexities"),),
    figures={
        "cost": "replications.neural_ode.experiments.scaling.figures:cost_of_steps",
        "tolerance": "replications.neural_ode.experiments.scaling.figures:tolerance",
    },
)  # fmt: skip
