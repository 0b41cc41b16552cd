"""What FFJORD's two diagnostics are: cost and variance of the trace, and the integral of a density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.experiment import Experiment
from replications.tasks.flow_config import FlowConfig


@dataclass(frozen=True)
class TraceConfig:
    """Settings of `ffjord.trace`; none are published.

    Args:
        study: `cost` of a divergence and moments of its estimates, or `probes` of a trained flow, fixed or fresh.
        hidden: widths of the hidden layers, tanh and concatsquash.
        multiple: all widths in units of the dimension, as in FFJORD's networks for tables; 0: as `hidden` says.
        dims: dimensions.
        work: a way to the divergence is measured in the dimensions where it takes at most so many floating point
            operations.
        batch: states evaluated together.
        probes: numbers K of probes that are timed and whose variance is measured.
        draws: probes of each state behind the moments; a multiple of every K.
        states: states behind the moments.
        repeats: timed repeats of each measurement.
        data: the flow's training set, one of `bench.data.toy2d`.
        iterations: of the flow's training.
        flow_batch: points an iteration of it, and of a gradient whose variance is measured.
        learning_rate: of Adam.
        tolerances: rtol = atol of the solves with fixed and with fresh probes, the training's last.
        max_nfe: evaluations after which such a solve is ended.
        gradients: minibatches behind the variance of the gradient.
    """

    study: str = "cost"
    hidden: tuple[int, ...] = (64, 64, 64)
    multiple: int = 0
    dims: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
    work: float = 1e10
    batch: int = 64
    probes: tuple[int, ...] = (1, 2, 4, 8, 16)
    draws: int = 2048
    states: int = 16
    repeats: int = 11
    data: str = "8gaussians"
    iterations: int = 300
    flow_batch: int = 100
    learning_rate: float = 5e-3
    tolerances: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
    max_nfe: int = 100_000
    gradients: int = 32


@dataclass(frozen=True)
class DensityConfig(FlowConfig):
    """Settings of `ffjord.density_integral`; the defaults are those of FFJORD's published code (`approx_error_1d.py`).

    Args:
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

TRACE = Experiment(
    name="ffjord.trace",
    title="Cost and variance of the divergence against the dimension; probes fixed and fresh",
    config=TraceConfig(),
    run="replications.ffjord.experiments.trace.run:run",
    variants={
        "fixed": {},
        "two_layers": {"hidden": (64, 64)},
        "wide": {"multiple": 10},
        "probes": {"study": "probes"},
    },
    tiers={
        "smoke": {
            "dims": (2, 4), "work": 1e8, "batch": 4, "probes": (1, 2), "draws": 64, "states": 2, "repeats": 1,
            "iterations": 2, "flow_batch": 8, "tolerances": (1e-1, 1e-2), "max_nfe": 1000, "gradients": 2,
        },
        "cpu": {},
        "gpu": {"work": 1e12, "batch": 256, "states": 64, "draws": 4096},
    },
    metrics=(
        "scaling_exponent", "ratio", "evaluation_time", "peak_memory", "trace_bias", "trace_variance", "nfe",
    ),
    figures={
        "cost": "replications.ffjord.experiments.diagnostics_figures:cost",
        "variance": "replications.ffjord.experiments.diagnostics_figures:variance",
        "probes": "replications.ffjord.experiments.diagnostics_figures:probes",
    },
    captions={
        "cpu": "Networks with the initial weights, the `probes` flow trained for 300 iterations; no size is published."
    },
)  # fmt: skip

DENSITY_INTEGRAL = Experiment(
    name="ffjord.density_integral",
    title="Total mass of a learned density on the line against the solver's tolerance",
    config=DensityConfig(),
    run="replications.ffjord.experiments.density_integral.run:run",
    variants={
        "published": {},
        "fixed_T": {"T": 1.0, "learn_T": False},
        "five": FIVE,
        "five_steer": FIVE | {"spread": 0.75},
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
        "train_loss", "nfe_forward", "nfe_backward", "iteration_time", "evaluation_time", "train_time", "peak_memory",
        "overhead", "parameters",
    ),
    figures={
        "mass": "replications.ffjord.experiments.diagnostics_figures:mass",
        "densities": "replications.ffjord.experiments.diagnostics_figures:densities",
    },
    captions={"cpu": "1,000 iterations, where the published code takes 10,000."},
)  # fmt: skip
