"""Settings that the trainings of OT-Flow share."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import UserError
from replications.rnode.config import Regularization
from replications.tasks.config import FlowConfig, at_least

FIXED = {
    "solver": "rk4", "divergence": "exact", "T": 1.0, "learn_T": False, "kinetic": 0.0, "jacobian": 0.0
}  # fmt: skip
"""Settings of flows in general that are part of the method here."""


@dataclass(frozen=True)
class OTFlowConfig(Regularization, FlowConfig):
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
        at_least(self, width=1, layers=2, validation_steps=1, own_steps=1, alpha_C=0, alpha_R=0, clamp=0)

    def _check_fixed(self) -> None:
        """Refuse other values of what OT-Flow has no choice of, which its training would not look at."""
        for name, value in FIXED.items():
            if getattr(self, name) != value:
                raise UserError(
                    f"config key {name!r} is {value!r} in OT-Flow, got {getattr(self, name)!r}: leave it out"
                )
