"""Experiment `lecture.inversion`: what a companion text says of flows.

Any network will do, the flow inverts, an adjoint in a few lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from replications.flows.ode.solve import Solver
from replications.lecture.experiments.inversion.field import NotesField
from replications.lecture.experiments.inversion.measured import (
    evaluations,
    gradient_error,
    largest_inversion_error,
)

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.lecture.experiments.inversion.declaration import InversionConfig

SIGNS = {"printed": -1, "right": 1}
"""Of the hand-written adjoint: as the companion text has it, and as the equation."""


def run(run: Run, config: InversionConfig) -> None:
    """Measure how well a flow inverts, what a solve takes, and the error of the printed adjoint; record them."""
    generator = run.torch_generator("states")
    x, cotangent = torch.randn(2, config.batch, config.dim, dtype=torch.float64, generator=generator)
    field = NotesField(config.field, config.dim, config.width, run.torch_generator("field"))
    adaptive = Solver("dopri5", rtol=config.rtol, atol=config.atol, max_nfe=config.max_nfe)
    fixed, protocol = Solver("rk4", steps=config.steps), f"{adaptive.protocol}/batch-{config.batch}"
    run.metric("inversion_error[rk4]", largest_inversion_error(field, x, fixed), f"{fixed.protocol}/max")
    run.metric("nfe", evaluations(field, x, adaptive), protocol)
    run.metric("inversion_error", largest_inversion_error(field, x, adaptive), f"{protocol}/max")
    if config.field == "smooth":
        tight = Solver("dopri5", rtol=1e-9, atol=1e-9)
        for name, sign in SIGNS.items():
            error = gradient_error(field, x, cotangent, tight, sign)
            run.metric(f"gradient_error[{name}]", error, "dL/dh(0) against autograd/dopri5-1e-9")
