"""A flow the other way round, to learn a density from its energy: what is fast there is fast here from base to data."""

from __future__ import annotations

from torch import Tensor

from replications.flows.density.flow import Flow, Path, Request
from replications.flows.density.integration import Integration


class Inverted(Flow):
    """The flow whose map from base to data is another flow's map T from data to base.

    With x = T(z), log q(x) = log p_0(z) - log abs det dT/dz. Density matching draws z and needs x and log q(x) only:
    that is `flow.path(z)`. The methods of `Flow` start from x, and so from z = T^-1(x).

    Args:
        flow: T; its prior is the base density of both.
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow.prior)
        self.flow, self.counter = flow, flow.counter

    def _carry(self, x: Tensor, request: Request) -> Path:
        """Carry data x `(B, *S)` to the base by T^-1, then back by T, which gives delta and the integrals."""
        z = self.flow.decode(x, request.integration)
        back = self.flow._carry(z, request)
        return Path(z, -back.delta, back.integrals)

    def encode(self, x: Tensor, integration: Integration | None = None) -> Tensor:
        """Return z = T^-1(x) of data x `(B, *S)`."""
        return self.flow.decode(x, integration)

    def decode(self, z: Tensor, integration: Integration | None = None) -> Tensor:
        """Return x = T(z) of base points z `(B, *S)`."""
        return self.flow.encode(z, integration)
