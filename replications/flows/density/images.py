"""Densities of images: from integers to the unit cube, from there to all reals, and the likelihood in bits.

| symbol | code | shape | equation |
|---|---|---|---|
| v | `v` | `(B, C, H, W)` | values 0, 1, ..., L - 1; L = 256 levels |
| u, x | `dequantise` | `(B, C, H, W)` | x = (v + u) / L, u ~ U(0, 1) in each dimension |
| alpha, s | `Logit` | `(B, C, H, W)` | s = alpha + (1 - 2 alpha) x |
| y | `Logit.forward` | `(B, C, H, W)` | y = log s - log(1 - s) |
| log det dy/dx | `Logit.forward` | `(B,)` | sum_i log(1 - 2 alpha) - log s_i - log(1 - s_i) |
| y | `Centre.forward` | `(B, C, H, W)` | y = 2x - 1, log det dy/dx = D log 2 |
| bits/dim | `bits_per_dim` | `(B,)` | -(log p(x) / D - log L) / log 2 |
| p_K | `importance_log_prob` | `(B,)` | log 1/K sum_k p((v + u_k) / L) |

The density is that of x. The probability of v is its integral over v's cell, of volume L^-D; hence the mean of
log p(x) - D log L over u is a lower bound of log P(v). So is that of log p_K - D log L, which rises to log P(v) with K
(lipman2023flow).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from replications.flows.density.flow import Flow, Path, Request
from replications.flows.density.integration import Integration
from replications.flows.errors import RequestError


def dequantise(v: Tensor, levels: int, generator: torch.Generator | None) -> Tensor:
    """Return x = (v + u) / L of values 0..L-1; u is uniform where there is a generator, else 1/2, the cell's centre.

    Raises:
        RequestError: a value that is none of them, such as a normalised pixel or a level of a finer scale.
    """
    _check_levels(v, levels)
    if generator is None:
        return (v + 0.5) / levels
    u = torch.rand(v.shape, generator=generator, device=generator.device)
    return (v + u.to(v.device)) / levels


def _check_levels(v: Tensor, levels: int) -> None:
    if v.numel() == 0:
        return
    low, high = v.min().item(), v.max().item()  # as numbers: of uint8 values, 256 would be 0
    whole = not v.is_floating_point() or bool((v == v.floor()).all())
    if not (whole and low >= 0 and high < levels):
        raise RequestError(
            f"values must be whole and within 0..{levels - 1}, got {low:g} to {high:g}: give the raw levels"
        )


def bits_per_dim(log_prob: Tensor, dim: int, levels: int) -> Tensor:
    """Return -(log p(x) / D - log L) / log 2 of log-densities of x in nats, of any shape."""
    return (math.log(levels) - log_prob / dim) / math.log(2)


def importance_log_prob(
    flow: Flow,
    v: Tensor,
    levels: int,
    samples: int,
    generator: torch.Generator,
    integration: Integration | None = None,
) -> Tensor:
    """Return log 1/K sum_k p((v + u_k) / L) in nats, `(B,)`; `bits_per_dim` makes bits of it.

    With an estimated divergence each p has the noise of its probes, whose exponential is large in the mean: the bound
    is then no longer strict.

    Args:
        flow: of x in the unit cube.
        v: values 0..L-1, `(B, C, H, W)`.
        levels: L.
        samples: K.
        generator: draws u and the probes.
        integration: in place of the flow's own way to integrate.

    Raises:
        RequestError: K below 1.
    """
    if samples < 1:
        raise RequestError(f"the importance-weighted likelihood needs at least 1 sample, got {samples}")
    like = next(flow.parameters())
    draws = (dequantise(v, levels, generator).to(like) for _ in range(samples))
    log_p = torch.stack([flow.log_prob(x, generator=generator, integration=integration) for x in draws])
    return log_p.logsumexp(0) - math.log(samples)


class Centre(nn.Module):
    """The map y = 2x - 1 from the unit cube to the cube about zero."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and log det dy/dx = D log 2 `(B,)` of x `(B, *S)`."""
        return 2 * x - 1, x.new_full((len(x),), x[0].numel() * math.log(2))

    def inverse(self, y: Tensor) -> Tensor:
        """Return x of any y `(B, *S)`, outside the unit cube where y is outside its own."""
        return (y + 1) / 2


class Logit(nn.Module):
    """The map y = logit(alpha + (1 - 2 alpha) x) from the unit cube to a bounded part of all reals.

    Args:
        alpha: keeps y finite at the faces of the cube.

    Raises:
        RequestError: alpha outside (0, 1/2).
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        if not 0 < alpha < 0.5:
            raise RequestError(f"the logit's alpha must lie between 0 and 1/2, got {alpha:g}")
        self.alpha = alpha

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and log det dy/dx `(B,)` of x `(B, *S)`."""
        gain = 1 - 2 * self.alpha
        # 1 - s by way of 1 - x, which floating point has without error for x near 1; of s it would lose digits.
        log_s, log_rest = (self.alpha + gain * x).log(), (self.alpha + gain * (1 - x)).log()
        return log_s - log_rest, (math.log(gain) - log_s - log_rest).flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return x of any y `(B, *S)`; outside the unit cube by up to alpha / (1 - 2 alpha) where y is large."""
        return (y.sigmoid() - self.alpha) / (1 - 2 * self.alpha)


class UnitCubeFlow(Flow):
    """A flow of x in the unit cube: y = logit(x) or 2x - 1, then a flow of y.

    Args:
        flow: of y; the base density is its.
        alpha: see `Logit`; None for y = 2x - 1.
    """

    def __init__(self, flow: Flow, alpha: float | None) -> None:
        super().__init__(flow.prior)
        self.counter = flow.counter
        self.flow, self.map = flow, Centre() if alpha is None else Logit(alpha)

    def _carry(self, x: Tensor, request: Request) -> Path:
        """Carry x in the unit cube to the base, the map's log-determinant in delta; see `Flow.path`."""
        y, log_det = self.map(x)
        path = self.flow._carry(y, request)
        return Path(path.z, path.delta + log_det, path.integrals)

    def encode(self, x: Tensor, integration: Integration | None = None) -> Tensor:
        """Return z of x `(B, *S)` in the unit cube."""
        return self.flow.encode(self.map(x)[0], integration)

    def decode(self, z: Tensor, integration: Integration | None = None) -> Tensor:
        """Return x of base points z, in the unit cube as far as the map's `inverse` is."""
        return self.map.inverse(self.flow.decode(z, integration))
