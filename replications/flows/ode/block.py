"""The solution of an initial value problem as a layer."""

from __future__ import annotations

from torch import Tensor, nn

from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver, solve


class ODEBlock(nn.Module):
    """The map x(t0) -> x(t1) where dx/dt = f(t, x) (chen2018neural).

    Args:
        field: f, called as `field(t, x)`.
        solver: method, tolerances or steps.
        gradient: `backprop`, `adjoint`, `checkpoint`, `tape` or `auto`; see `replications.flows.ode.solve`.
        t0: start of the integration.
        t1: end of the integration.

    Attributes:
        counter: of the evaluations of the field, forward and backward.
    """

    def __init__(
        self, field: nn.Module, solver: Solver, gradient: str = "backprop", t0: float = 0.0, t1: float = 1.0
    ) -> None:
        super().__init__()
        self.field, self.counter = field, Counter()
        self.solver, self.gradient, self.t0, self.t1 = solver, gradient, t0, t1

    def forward(self, x: Tensor) -> Tensor:
        """Return x(t1), of the shape of x(t0)."""
        end = solve(self.field, x, self.t0, self.t1, self.solver, self.gradient, counter=self.counter)
        assert isinstance(end, Tensor)  # a tensor in, a tensor out
        return end
