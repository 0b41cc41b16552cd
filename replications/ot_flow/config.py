"""Settings that the trainings of OT-Flow share."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import UserError
from replications.ffjord.flow_config import FlowConfig


@dataclass(frozen=True)
class OTFlowConfig(FlowConfig):
    """How OT-Flow is trained; its time runs from 0 to 1, its steps are equal ones of RK4, its trace is exact.

    Args:
        width: m, of the potential's layers.
        layers: M, at least 2.
        alpha_C: weight of the likelihood term C beside the transport cost L (the paper's alpha_1).
        alpha_R: weight of the HJB penalty R beside L (alpha_2).
        validation_steps: RK4 steps of a validation.
        own_steps: RK4 steps of the paper's own test; others use dopri5.
        clamp: largest absolute value of a parameter, applied after every step; 0 for none.
        compiled: put training steps through torch.compile.
    """

    solver: str = "rk4"
    steps: int = 8
    learn_T: bool = False
    weight_decay: float = 0.0
    width: int = 32
    layers: int = 2
    alpha_C: float = 30.0
    alpha_R: float = 1.0
    validation_steps: int = 12
    own_steps: int = 12
    clamp: float = 0.0
    compiled: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("width", 1), ("layers", 2), ("validation_steps", 1), ("own_steps", 1)):
            if getattr(self, name) < least:
                raise UserError(f"config key {name!r} must be at least {least}, got {getattr(self, name)}")
        for name in ("alpha_C", "alpha_R", "clamp"):
            if getattr(self, name) < 0:
                raise UserError(f"config key {name!r} must not be negative, got {getattr(self, name):g}")
