"""What every flow can do: a density of data x by an invertible map to a base point z.

| symbol | code | shape | equation |
|---|---|---|---|
| x, z | `x`, `z` | `(B, *S)` | data, base point z = T(x), which may have another shape of D numbers |
| p_0 | `prior` | | base density |
| delta | `Path.delta` | `(B,)` | log abs det dT/dx |
| log p(x) | `Flow.log_prob` | `(B,)` | log p_0(z) + delta, in nats |
| R_j | `Path.integrals` | `(B,)` | integrals that regularize the path, by name |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from replications.flows.density.integration import Integration
from replications.flows.ode.counter import Counter


class Prior(Protocol):
    """The base density of a flow."""

    def log_prob(self, x: Tensor, /) -> Tensor:
        """Return log p_0(x) in nats, `(B,)`."""

    def sample(self, n: int, /, generator: torch.Generator, dtype: torch.dtype, device: Any) -> Tensor:
        """Return n points `(n, *S)`."""


@dataclass(frozen=True)
class Path:
    """A batch carried from data to base: its end z, delta `(B,)`, and each regularizer's integral `(B,)`."""

    z: Tensor
    delta: Tensor
    integrals: dict[str, Tensor]


@dataclass(frozen=True)
class Request:
    """What `Flow.path` is asked for beside its data; see there."""

    eps: Tensor | None = None
    generator: torch.Generator | None = None
    integration: Integration | None = None
    end: float | None = None


class Flow(nn.Module, ABC):
    """An invertible map from data to the base, and the density that it gives the data.

    Args:
        prior: density p_0 of z.

    Attributes:
        counter: of all evaluations of the flow's fields, forward and backward.
    """

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior, self.counter = prior, Counter()

    def path(
        self,
        x: Tensor,
        eps: Tensor | None = None,
        generator: torch.Generator | None = None,
        integration: Integration | None = None,
        end: float | None = None,
    ) -> Path:
        """Carry data x `(B, *S)` to the base, with delta and all integrals.

        Args:
            x: data.
            eps: probes of an estimated divergence, fixed for the whole solve.
            generator: draws what is random: probes where `eps` is None, a random end time.
            integration: in place of the flow's own way to integrate.
            end: where a continuous flow stops, as a multiple of T; None for T, or a random time about it where the
                integration says so.

        Raises:
            RequestError: something random with neither value nor generator.
            SolveFailure: as `replications.flows.ode.solve.solve`.
        """
        return self._carry(x, Request(eps, generator, integration, end))

    @abstractmethod
    def _carry(self, x: Tensor, request: Request) -> Path:
        """Carry data to the base as `path` is asked to."""

    @abstractmethod
    def encode(self, x: Tensor, integration: Integration | None = None) -> Tensor:
        """Return z of data x `(B, *S)`; no log-determinant is computed."""

    @abstractmethod
    def decode(self, z: Tensor, integration: Integration | None = None) -> Tensor:
        """Return x of base points z `(B, *S)`: the inverse of `encode`."""

    def log_prob(
        self,
        x: Tensor,
        eps: Tensor | None = None,
        generator: torch.Generator | None = None,
        integration: Integration | None = None,
    ) -> Tensor:
        """Return log p(x) in nats, `(B,)`; arguments and errors as `path`."""
        path = self.path(x, eps, generator, integration=integration)
        return self.prior.log_prob(path.z) + path.delta

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, integration: Integration | None = None) -> Tensor:
        """Return n points of the flow's density, without gradient, in the type and on the device of its parameters."""
        like = next(self.parameters())
        return self.decode(self.prior.sample(n, generator, dtype=like.dtype, device=like.device), integration)
