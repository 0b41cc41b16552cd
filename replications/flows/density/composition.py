"""Flows one after the other, as FFJORD's `flow steps` (grathwohl2019ffjord)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from torch import Tensor, nn

from replications.flows.density.cnf import CNF
from replications.flows.density.flow import Flow, Path, Prior, Request
from replications.flows.density.integration import Integration
from replications.flows.errors import RequestError


class Chain(Flow):
    """Continuous flows composed, z = T_N(...T_1(x)): their deltas and integrals add up.

    Args:
        flows: T_1, T_2...; each has its own field and end time. Their priors are not used.
        prior: density p_0 of z.

    Raises:
        RequestError: no flows.
    """

    def __init__(self, flows: Sequence[CNF], prior: Prior) -> None:
        super().__init__(prior)
        if not flows:
            raise RequestError("a chain needs at least one flow")
        self.flows = nn.ModuleList(flows)
        for flow in flows:
            flow.counter = self.counter

    def _carry(self, x: Tensor, request: Request) -> Path:
        """Carry data x `(B, *S)` through all flows; probes `(N, K, B, *S)`, arguments and errors as `Flow.path`."""
        delta, integrals = x.new_zeros(len(x)), dict[str, Tensor]()
        for i, flow in enumerate(self.flows):
            own = None if request.eps is None else request.eps[i]
            part = cast(CNF, flow)._carry(x, replace(request, eps=own))
            x, delta = part.z, delta + part.delta
            integrals = {name: integrals.get(name, 0) + r for name, r in part.integrals.items()}
        return Path(x, delta, integrals)

    def encode(self, x: Tensor, integration: Integration | None = None) -> Tensor:
        """Return z of data x `(B, *S)`."""
        for flow in self.flows:
            x = cast(CNF, flow).encode(x, integration)
        return x

    def decode(self, z: Tensor, integration: Integration | None = None) -> Tensor:
        """Return x of base points z `(B, *S)`."""
        for flow in reversed(self.flows):
            z = cast(CNF, flow).decode(z, integration)
        return z
