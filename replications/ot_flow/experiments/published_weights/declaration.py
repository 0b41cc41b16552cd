"""What the evaluation of the published OT-Flow weights is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import UserError
from bench.experiment import Experiment
from replications.tasks.config import at_least

DATA_SET = "ot_flow_weights"
WEIGHTS_OF = ("miniboone", "swissroll")


@dataclass(frozen=True)
class PublishedConfig:
    """Settings of the evaluation; the defaults are those of the authors' code (`evaluateLargeOTflow.py`).

    Args:
        weights: `miniboone` or `swissroll`.
        weights_data: the data set that holds the weights.
        data: the data set of the rows; or a set of `bench.data.toy2d`.
        split: `test` or `validation`, the published parts; a 2-D set has fresh points.
        own_steps: RK4 steps.
        rows: the first so many rows; 0 for all. Of a 2-D set so many points.
        checked: rows on which the error of the solver is measured.
        generated: points drawn for the MMD.
        grid: points a side of the grid over [-reach, reach]^2 on which a 2-D density is integrated.
        reach: see `grid`.
        mass_tolerances: rtol = atol of the solves that are integrated, in float64.
    """

    weights: str = "miniboone"
    weights_data: str = "ot_flow_weights"
    data: str = "miniboone_heldout"
    split: str = "test"
    own_steps: int = 18
    rows: int = 0
    checked: int = 200
    generated: int = 3000
    grid: int = 200
    reach: float = 6.0
    mass_tolerances: tuple[float, ...] = (1e-3, 1e-5)

    def __post_init__(self) -> None:
        if self.split not in ("test", "validation"):
            raise UserError(f"config key 'split' must be test or validation, got {self.split!r}")
        if self.weights not in WEIGHTS_OF:
            raise UserError(
                f"config key 'weights' must be one of {', '.join(WEIGHTS_OF)}, got {self.weights!r}"
            )
        if self.weights_data != DATA_SET:
            raise UserError(f"config key 'weights_data' must be {DATA_SET}, got {self.weights_data!r}")
        at_least(self, own_steps=1, rows=0, checked=1, generated=4, grid=2)


WEIGHTS = Experiment(
    name="ot_flow.published_weights",
    seeded_by=("data",),
    title="OT-Flow with the weights its authors published",
    config=PublishedConfig(),
    run="replications.ot_flow.experiments.published_weights.run:run",
    variants={
        "miniboone_test": {"split": "test"},
        "miniboone_validation": {"split": "validation"},
        "swissroll": {"weights": "swissroll", "data": "swissroll", "own_steps": 16},
    },
    tiers={"smoke": {"rows": 50, "checked": 10, "generated": 40, "grid": 10}, "cpu": {}, "gpu": {}},
    metrics=(
        "nll", "transport_cost", "hjb_residual", "straightness", "nll_error", "inversion_error", "mass_error", "mmd",
        "loglik_time", "nfe_test", "parameters", "kinetic_energy", "jacobian_norm", "bits_per_dim",
    ),
    data_fields=("data", "weights_data"),
    figures={"densities": "replications.tasks.figures:densities"},
    captions={"cpu": "All rows of the published splits; the swiss roll by 10,000 fresh points."},
)  # fmt: skip
