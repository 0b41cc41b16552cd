"""Settings that the trainings of all flows share: integration and optimizer."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import UserError


@dataclass(frozen=True)
class FlowConfig:
    """How a flow is integrated and trained.

    Args:
        solver: method in training; tests use dopri5.
        steps: of a method with fixed steps; 0 for an adaptive one.
        rtol: relative tolerance of an adaptive method, in training and tests.
        atol: absolute tolerance, likewise.
        divergence: in training: `exact`, `rademacher` or `gaussian`; tests are exact.
        gradient: `checkpoint`, `adjoint` or `backprop`; see `replications.flows.ode.solve`.
        T: end time; where it starts, if learned.
        learn_T: whether the end time is learned. In FFJORD's and STEER's published code it is a parameter, but detached
            from the solve: it has no gradient and never moves.
        learning_rate: of Adam.
        weight_decay: added to the gradient.
        iterations: optimizer steps, at most.
        batch: points an iteration.
        repeats: timed steps of each kind, where a method's cost is compared with that of the one it builds on.
    """

    solver: str = "dopri5"
    steps: int = 0
    rtol: float = 1e-5
    atol: float = 1e-5
    divergence: str = "exact"
    gradient: str = "checkpoint"
    T: float = 1.0
    learn_T: bool = False
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    iterations: int = 10_000
    batch: int = 100
    repeats: int = 10

    def __post_init__(self) -> None:
        at_least(self, iterations=1, batch=1, repeats=1)


def at_least(config: object, **least: float) -> None:
    """Check keys of a config.

    Raises:
        UserError: one is below its least value.
    """
    for name, value in least.items():
        if getattr(config, name) < value:
            raise UserError(f"config key {name!r} must be at least {value}, got {getattr(config, name):g}")
