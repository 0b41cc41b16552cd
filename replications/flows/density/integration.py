"""How the integrals of a continuous flow are computed: solver, divergence, gradient, regularizers, end time."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from replications.flows.density.divergence import EXACT, Divergence
from replications.flows.density.regularizers import needs_frobenius
from replications.flows.errors import RequestError
from replications.flows.ode.solve import DEFAULT as DOPRI5
from replications.flows.ode.solve import Solver

UNSTEERED = 2.0**-40
"""Scale of an integral that is not to steer the steps: its error weighs so much less against the tolerance. As a
power of two it rounds neither the integral nor the gradient."""


@dataclass(frozen=True)
class Integration:
    """How the integrals of a flow are computed.

    Args:
        solver: method, tolerances or steps.
        divergence: exact or estimated.
        gradient: `backprop`, `adjoint`, `checkpoint`, `tape` or `auto`; see `replications.flows.ode.solve`.
        regularizers: names of what else is integrated; see `replications.flows.density.regularizers`.
        b: in 0..1; a path ends at a random time of U((1 - b) T, (1 + b) T), drawn anew for each solve, in place
            of T (ghosh2020steer). For training; 0 ends on T.
        steered: whether the integrals of the regularizers take part in the control of the step size, as x and
            delta always do.
        compiled: put the steps through torch.compile, for all gradients but `backprop` and `adjoint`; see
            `replications.flows.ode.solve`.

    Raises:
        RequestError: an unknown regularizer, a b outside [0, 1), or no absolute tolerance to keep regularizers from
            steering.
    """

    solver: Solver = DOPRI5
    divergence: Divergence = EXACT
    gradient: str = "checkpoint"
    regularizers: tuple[str, ...] = ()
    b: float = 0.0
    steered: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        needs_frobenius(self.regularizers)  # knows their names
        if self.regularizers and not self.steered and not self.solver.fixed and self.solver.atol == 0:
            raise RequestError("with atol=0 regularizers always steer the steps: set atol or steered=True")
        if not 0 <= self.b < 1:
            raise RequestError(f"the b of a random end time must lie in [0, 1), got {self.b:g}")

    @property
    def scale(self) -> float:
        """What the integrals of the regularizers are scaled by while they are integrated."""
        return 1.0 if self.steered else UNSTEERED

    @property
    def protocol(self) -> str:
        """Its name in a protocol id: `exact-trace/dopri5-1e-5`, with `/steered` where regularizers are, `/compiled`."""
        steered = ("steered",) if self.regularizers and self.steered else ()
        compiled = ("compiled",) if self.compiled else ()
        return "/".join((self.divergence.protocol, self.solver.protocol, *steered, *compiled))

    def draw_end(self, generator: torch.Generator | None) -> float:
        """Return where a path ends, as a multiple of T: 1, or a draw of U(1 - b, 1 + b).

        Raises:
            RequestError: a random end without a generator.
        """
        if self.b == 0:
            return 1.0
        if generator is None:
            raise RequestError("a random end time needs a generator; for evaluation set b=0")
        u = torch.rand((), generator=generator, device=generator.device, dtype=torch.float64)
        return 1 + self.b * (2 * u.item() - 1)


DEFAULT = Integration()
