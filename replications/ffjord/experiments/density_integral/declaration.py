"""What `ffjord.density_integral` is: the integral of a learned density on the line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.experiment import Change, Departure, Experiment
from replications.rnode.config import Regularization
from replications.steer.config import RandomEnd
from replications.tasks.config import FlowConfig


@dataclass(frozen=True)
class DensityConfig(RandomEnd, Regularization, FlowConfig):
    """Settings of `ffjord.density_integral`; the defaults are those of FFJORD's published code (`approx_error_1d.py`).

    Args:
        validate_every: iterations between validations on 1000 fresh points, of which the best weights are kept.
        means: of the mixture's components, equally likely, each of variance 0.4.
        hidden: widths of the hidden layers, tanh and concatsquash.
        tolerances: rtol = atol of the solves whose densities are integrated, the smallest last.
        points: of the trapezoidal rule over [-reach, reach].
        reach: see `points`.
        small_batch: points solved together where the effect of shared steps is measured.
        test_points: fresh points of the likelihood.
        max_nfe: evaluations after which a solve in float32 is ended.
    """

    T: float = 0.5
    validate_every: int = 100
    means: tuple[float, ...] = (-2.8, -0.9, 2.0)
    hidden: tuple[int, ...] = (64, 64, 64)
    tolerances: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
    points: int = 10_000
    reach: float = 10.0
    small_batch: int = 100
    test_points: int = 10_000
    max_nfe: int = 5000


FIVE: dict[str, Any] = {"means": (-2.8, -0.9, 2.0, 5.1, 3.4), "T": 1.0, "reach": 15.0}
"""STEER's mixture, from the authors' code; a learned density can reach beyond 10."""

DENSITY_INTEGRAL = Experiment(
    name="ffjord.density_integral",
    seeded_by=("means",),
    renamed={"spread": "b"},
    title="Total mass of a learned density on the line against the solver's tolerance",
    config=DensityConfig(),
    run="replications.ffjord.experiments.density_integral.run:run",
    variants={
        "published": {},
        "learned_T": {"learn_T": True},
        "fixed_T": {"T": 1.0},
        "five": FIVE,
        "five_steer": FIVE | {"b": 0.75},
    },
    tiers={
        "smoke": {
            "iterations": 2, "batch": 8, "hidden": (8, 8, 8), "points": 101, "test_points": 20, "small_batch": 50,
            "tolerances": (1e-2, 1e-5), "repeats": 1,
        },
        "cpu": {"iterations": 1000},
        "paper": {},
    },
    metrics=(
        "mass_error", "scaling_exponent", "nfe", "nll", "bits_per_dim", "nll_error", "kl", "inversion_error",
        "end_time", "nfe_test", "loglik_time",
        "train_loss", "nfe_forward", "nfe_backward", "iteration_time", "evaluation_time",
        "train_time", "warmup_time", "data_time", "peak_memory",
        "overhead", "parameters",
    ),
    figures={
        "mass": "replications.ffjord.experiments.density_integral.figures:mass",
        "densities": "replications.ffjord.experiments.density_integral.figures:densities",
    },
    changes=(Change(2, "the end time is given and the best validated weights are kept, as in the published code"),),
    departures=(
        Departure("T is learned, or is 1 on three components; the code does neither", ("learned_T", "fixed_T")),
        Departure("The integral is over [-15, 15], in the code over [-10, 10]", ("five*",)),
    ),
    captions={"cpu": "1,000 iterations, where the published code takes 10,000."},
)  # fmt: skip
