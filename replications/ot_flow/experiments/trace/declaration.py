"""What the comparison of OT-Flow's exact trace with an estimate is: settings, variants, tiers and reported metrics."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from bench.errors import UserError
from bench.experiment import Experiment
from replications.tasks.config import at_least

PUBLISHED = {
    43: (1, 10, 20, 30, 43),
    63: (1, 10, 20, 30, 40, 50, 63),
    784: (1, 100, 200, 300, 400, 500, 600, 700, 784),
}
"""Dimensions of the paper's Figure 2, and the numbers of vectors in each."""


@dataclass(frozen=True)
class OTFlowTraceConfig:
    """Settings of `ot_flow.trace`; the defaults are the published ones.

    Args:
        dim: D; the paper's are those of MINIBOONE, BSDS300 and MNIST.
        vectors: numbers K of vectors, rising; none: the published ones of the dimension.
        width: m.
        layers: M.
        batch: states evaluated together.
        repeats: each with weights, states and vectors of its own.
        checked: states whose Hessians give the expected error.
    """

    dim: int = 43
    vectors: tuple[int, ...] = ()
    width: int = 64
    layers: int = 2
    batch: int = 512
    repeats: int = 20
    checked: int = 16

    def __post_init__(self) -> None:
        numbers = self.numbers
        if len(numbers) < 2 or numbers[0] < 1 or any(a >= b for a, b in itertools.pairwise(numbers)):
            raise UserError(
                f"config key 'vectors' must rise from at least 1 and hold two numbers, got {numbers}; "
                f"published are those of the dimensions {', '.join(map(str, PUBLISHED))}"
            )
        at_least(self, width=1, layers=2, batch=1, repeats=1, checked=1)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of vectors after which time and error are read."""
        return self.vectors or PUBLISHED.get(self.dim, ())


TRACE = Experiment(
    name="ot_flow.trace",
    seeded_by=("dim", "batch"),
    title="OT-Flow's exact trace against Hutchinson's estimate by autograd",
    config=OTFlowTraceConfig(),
    run="replications.ot_flow.experiments.trace.run:run",
    variants={f"d{dim}": {"dim": dim} for dim in PUBLISHED},
    tiers={
        "smoke": {"vectors": (1, 3), "width": 8, "batch": 8, "repeats": 1, "checked": 2},
        "cpu": {"repeats": 5},
        "gpu": {},
    },
    metrics=("evaluation_time", "ratio", "trace_error", "scaling_exponent"),
    figures={"trace": "replications.ot_flow.experiments.trace.figures:trace"},
    captions={
        "cpu": "5 repeats on a CPU, where the published ones are 20 on a GPU; initial weights, standard normal states.",
        "gpu": "Initial weights and standard normal states, as published.",
    },
)
