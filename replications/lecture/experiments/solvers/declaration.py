"""What `lecture.solvers` is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Experiment


@dataclass(frozen=True)
class SolverConfig:
    """Settings of `lecture.solvers`.

    Args:
        method: a name of `replications.lecture.experiments.solvers.methods.METHODS`.
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
        "work_precision": "replications.lecture.experiments.solvers.figures:work_precision",
        "order": "replications.lecture.experiments.solvers.figures:order",
        "tolerance_ladder": "replications.lecture.experiments.solvers.figures:tolerance_ladder",
        "stiff_cost": "replications.lecture.experiments.solvers.figures:stiff_cost",
    },
)  # fmt: skip
