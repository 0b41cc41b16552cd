"""Base densities of flows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class IsotropicNormal:
    """The normal density N(0, scale^2 I) over `dim` dimensions."""

    dim: int
    scale: float

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, `(B,)`, of points `(B, D)`: -|x/s|^2/2 - D log(s sqrt(2 pi))."""
        constant = self.dim * math.log(self.scale * math.sqrt(2 * math.pi))
        return -0.5 * (x / self.scale).square().sum(-1) - constant

    def sample(
        self,
        n: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        device: str | None = None,
    ) -> Tensor:
        """Return n points `(n, D)`; drawn on the generator's device, then moved to `device`."""
        noise = torch.randn(n, self.dim, generator=generator, dtype=dtype, device=generator.device)
        return (self.scale * noise).to(device)


class StandardNormal(IsotropicNormal):
    """The normal density N(0, I) over `dim` dimensions."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, 1.0)


@dataclass(frozen=True)
class ShapedNormal:
    """The normal density N(0, scale^2 I) of states of any shape, such as images."""

    shape: tuple[int, ...]
    scale: float = 1.0

    @property
    def _flat(self) -> IsotropicNormal:
        return IsotropicNormal(math.prod(self.shape), self.scale)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, `(B,)`, of states `(B, *S)`; see `IsotropicNormal`."""
        return self._flat.log_prob(x.flatten(1))

    def sample(
        self,
        n: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        device: str | None = None,
    ) -> Tensor:
        """Return n states `(n, *S)`; drawn on the generator's device, then moved to `device`."""
        return self._flat.sample(n, generator, dtype, device).unflatten(1, self.shape)
