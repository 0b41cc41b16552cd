"""What `ffjord.trace` is: cost and variance of the divergence."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Departure, Experiment


@dataclass(frozen=True)
class TraceConfig:
    """Settings of `ffjord.trace`; none are published.

    Args:
        study: `cost` of a divergence and moments of its estimates, or `probes` of a trained flow, fixed or fresh.
        hidden: widths of the hidden layers, tanh and concatsquash.
        multiple: all widths in units of the dimension, as in FFJORD's networks for tables; 0: as `hidden` says.
        dims: dimensions.
        work: a method is measured in the dimensions where it takes at most so many floating point
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


TRACE = Experiment(
    name="ffjord.trace",
    seeded_by=("data",),
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
        "cost": "replications.ffjord.experiments.trace.figures:cost",
        "variance": "replications.ffjord.experiments.trace.figures:variance",
        "probes": "replications.ffjord.experiments.trace.figures:probes",
    },
    departures=(Departure("Networks, dimensions and sample sizes are ours: no such measurement is published"),),
    captions={
        "cpu": "Networks with the initial weights, the `probes` flow trained for 300 iterations; no size is published."
    },
)  # fmt: skip
