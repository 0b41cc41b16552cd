"""Velocities whose flows are known in closed form."""

from __future__ import annotations

import math

import torch
from marginal import GaussianMixture, marginal_field
from torch import Tensor, nn

from replications.flow_matching.paths import LinearPath


def normal(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Fixed(nn.Module):
    """v = c, a translation by c in unit time."""

    def __init__(self, c: Tensor) -> None:
        super().__init__()
        self.c = nn.Parameter(c)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.c.expand_as(x)


class Turning(nn.Module):
    """v(x) = w J x, a rotation by w in unit time."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.w * torch.stack((-x[:, 1], x[:, 0]), 1)


class Growing(nn.Module):
    """v(x) = a x, which takes x to e^a x in unit time."""

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.a * x


class Eight(nn.Module):
    """The velocity from N(0, I) to `8gaussians-cfm` along linear paths, in closed form."""

    def __init__(self) -> None:
        super().__init__()
        angle = 2 * math.pi * torch.arange(8) / 8
        self.means = nn.Parameter(5 * torch.stack((angle.cos(), angle.sin()), 1))

    @property
    def target(self) -> GaussianMixture:
        return GaussianMixture(self.means, torch.ones(2))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return marginal_field(LinearPath(), self.target, t, x)
