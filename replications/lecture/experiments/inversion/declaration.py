"""What `lecture.inversion` is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Experiment


@dataclass(frozen=True)
class InversionConfig:
    """Settings of `lecture.inversion`.

    Args:
        field: a name of `replications.lecture.experiments.inversion.field.FIELDS`.
        dim: dimension of the state.
        width: hidden units of the notes' dynamics.
        batch: states integrated together.
        rtol: relative tolerance of dopri5, the notes' 1e-5.
        atol: absolute tolerance, the notes' 1e-5.
        max_nfe: evaluations after which a solve is given up.
        steps: of the solve with a fixed step.
    """

    field: str = "smooth"
    dim: int = 2
    width: int = 128
    batch: int = 64
    rtol: float = 1e-5
    atol: float = 1e-5
    max_nfe: int = 200_000
    steps: int = 40


INVERSION = Experiment(
    name="lecture.inversion",
    seeded_by=("dim", "batch"),
    title="Invertibility of flows, and a hand-written adjoint",
    config=InversionConfig(),
    run="replications.lecture.experiments.inversion.run:run",
    variants={
        "smooth": {"field": "smooth"},
        "relu": {"field": "relu"},
        "dropout": {"field": "dropout"},
    },
    tiers={"smoke": {"rtol": 1e-3, "atol": 1e-3}, "cpu": {}},
    metrics=("inversion_error", "nfe", "gradient_error"),
)
