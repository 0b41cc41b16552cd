"""Settings that the trainings of OT-Flow share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from replications.tasks.config import at_least

METHOD_FIELDS: Mapping[str, Any] = {
    "solver": "rk4", "divergence": "exact", "T": 1.0, "learn_T": False, "kinetic": 0.0, "jacobian": 0.0,
    "spread": 0.0, "weight_decay": 0.0, "repeats": 10,
}  # fmt: skip
"""Config fields of earlier records that are gone, since the method or the code leaves no choice, with what it does."""


@dataclass(frozen=True)
class OTFlowConfig:
    """How OT-Flow is trained and tested: from time 0 to 1, by equal steps of RK4, with the exact trace.

    Args:
        steps: RK4 steps of a solve in training.
        rtol: relative tolerance of dopri5, by which every flow is tested.
        atol: absolute tolerance, likewise.
        gradient: `checkpoint`, `adjoint` or `backprop`; see `replications.flows.ode.solve`.
        learning_rate: of Adam, at first.
        iterations: optimizer steps, at most.
        batch: points an iteration.
        width: m, of the potential's layers.
        layers: M, at least 2.
        alpha_C: weight of the likelihood term C beside the transport cost L (the paper's alpha_1).
        alpha_R: weight of the HJB penalty R beside L (alpha_2).
        validation_steps: RK4 steps of a validation.
        own_steps: RK4 steps of the paper's own test; others use dopri5.
        clamp: largest absolute value of a parameter, applied after every step; 0 for none.
        compiled: put training steps through torch.compile.
    """

    steps: int = 8
    rtol: float = 1e-5
    atol: float = 1e-5
    gradient: str = "checkpoint"
    learning_rate: float = 1e-3
    iterations: int = 10_000
    batch: int = 100
    width: int = 32
    layers: int = 2
    alpha_C: float = 30.0
    alpha_R: float = 1.0
    validation_steps: int = 12
    own_steps: int = 12
    clamp: float = 0.0
    compiled: bool = False

    def __post_init__(self) -> None:
        at_least(self, iterations=1, batch=1, width=1, layers=2, validation_steps=1, own_steps=1)
        at_least(self, alpha_C=0, alpha_R=0, clamp=0)


@dataclass(frozen=True)
class PeriodicConfig(OTFlowConfig):
    """OT-Flow with a learning rate that falls between periods of equal length, and the best validated weights kept.

    Args:
        drop: what the learning rate is divided by between two periods.
        periods: into which the iterations are divided.
        validate_every: iterations between two validations; the weights of the lowest objective are kept.
        double: train in float64.
    """

    drop: float = 2.0
    periods: int = 5
    validate_every: int = 50
    double: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, steps=1, drop=1, periods=1, validate_every=0)
