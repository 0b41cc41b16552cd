r"""Conditional probability paths: noise x0 at t = 0 flows to data x1 at t = 1 (lipman2023flow, tong2024improving).

| symbol | code | shape | equation |
|---|---|---|---|
| x0, x1 | `x0`, `x1` | `(B, *S)` | noise of the path's source, N(0, s^2 I) with s = `source_std`, and data |
| t | `t` | scalar or `(B, 1, ...)` | time in `times`, as many axes as x0 |
| eps | `noise` | `(B, *S)` | N(0, I), for paths that are `noisy` |
| x_t | first of `path(...)` | `(B, *S)` | x_t = alpha_t x1 + sigma_t x0 + gamma_t eps |
| u_t | second of `path(...)` | `(B, *S)` | dx_t/dt at fixed x0, x1, eps: the target of the regression |
| optimal transport | `OptimalTransportPath` | | alpha = t, sigma = 1 - (1 - sigma_min) t (lipman2023flow, 22) |
| I-CFM, OT-CFM | `LinearPath` | | alpha = t, sigma = 1 - t, gamma = sigma (tong2024improving, 14, 15) |
| Schroedinger bridge | `BridgePath` | | the same, gamma = sigma sqrt(t (1-t)) (tong2024improving, 20, 21) |
| variance preserving | `VariancePreservingPath` | | alpha = e^(-T(1-t)/2), sigma^2 = 1 - alpha^2 (lipman2023flow, 18) |
| variance exploding | `VarianceExplodingPath` | | alpha = 1, sigma = sigma_{1-t} / sigma_max (lipman2023flow, 16) |

The papers write u_t as a function of x_t; with x_t put in it is the time derivative above, which needs no division by
sigma_t. Both diffusion paths start near their source, not on it: at t = 0 there is still alpha_0 x1 of the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from bench.errors import UserError

MARGIN = 1e-5
"""Distance kept from a time where the slopes of sigma or gamma are infinite (lipman2023flow)."""


class Coefficients(NamedTuple):
    """alpha, sigma, gamma of a path and their time derivatives, each shaped as t."""

    alpha: Tensor
    sigma: Tensor
    gamma: Tensor
    d_alpha: Tensor
    d_sigma: Tensor
    d_gamma: Tensor


class ConditionalPath(Protocol):
    """A conditional probability path with its conditional velocity."""

    @property
    def times(self) -> tuple[float, float]:
        """The first and the last time."""

    @property
    def source_std(self) -> float:
        """s, standard deviation of the source in every dimension."""

    @property
    def noisy(self) -> bool:
        """Whether it needs eps."""

    def coefficients(self, t: Tensor) -> Coefficients:
        """Return alpha_t, sigma_t, gamma_t and their derivatives."""

    def __call__(
        self, x0: Tensor, x1: Tensor, t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return x_t and u_t, each `(B, *S)`.

        Raises:
            UserError: a noisy path without noise.
        """


@dataclass(frozen=True)
class OptimalTransportPath:
    """psi_t(x0) = (1 - (1 - sigma_min) t) x0 + t x1, u_t = x1 - (1 - sigma_min) x0 (lipman2023flow, 22, 23).

    Args:
        sigma_min: standard deviation about x1 at t = 1.

    Raises:
        UserError: sigma_min outside [0, 1).
    """

    sigma_min: float = 0.0
    times = (0.0, 1.0)
    source_std = 1.0
    noisy = False

    def __post_init__(self) -> None:
        if not 0 <= self.sigma_min < 1:
            raise UserError(f"sigma_min must lie in [0, 1), got {self.sigma_min:g}")

    def coefficients(self, t: Tensor) -> Coefficients:
        """Return them; see `ConditionalPath`."""
        slope = self.sigma_min - 1
        one, zero = torch.ones_like(t), torch.zeros_like(t)
        return Coefficients(t, 1 + slope * t, zero, one, slope * one, zero)

    def __call__(
        self, x0: Tensor, x1: Tensor, t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return x_t and u_t; see `ConditionalPath`."""
        u_t = torch.sub(x1, x0, alpha=1 - self.sigma_min)
        return torch.addcmul(x0, t, u_t), u_t


@dataclass(frozen=True)
class LinearPath:
    """x_t ~ N(t x1 + (1 - t) x0, sigma^2 I), u_t = x1 - x0 (tong2024improving, 14, 15).

    Args:
        sigma: the same standard deviation at all times.

    Raises:
        UserError: sigma below 0.
    """

    sigma: float = 0.0
    times = (0.0, 1.0)
    source_std = 1.0

    def __post_init__(self) -> None:
        if self.sigma < 0:
            raise UserError(f"sigma must not be negative, got {self.sigma:g}")

    @property
    def noisy(self) -> bool:
        """Whether sigma is not zero."""
        return self.sigma != 0

    def coefficients(self, t: Tensor) -> Coefficients:
        """Return them; see `ConditionalPath`."""
        one, zero = torch.ones_like(t), torch.zeros_like(t)
        return Coefficients(t, 1 - t, self.sigma * one, one, -one, zero)

    def __call__(
        self, x0: Tensor, x1: Tensor, t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return x_t and u_t; see `ConditionalPath`."""
        u_t = x1 - x0
        x_t = torch.addcmul(x0, t, u_t)
        return (torch.add(x_t, _given(noise), alpha=self.sigma) if self.noisy else x_t), u_t


@dataclass(frozen=True)
class BridgePath:
    """A Brownian bridge from x0 to x1, x_t ~ N(t x1 + (1 - t) x0, sigma^2 t (1 - t) I) (tong2024improving, 20, 21).

    u_t = (1 - 2t) / (2t (1 - t)) (x_t - t x1 - (1 - t) x0) + x1 - x0 = x1 - x0 + gamma'_t eps.

    Args:
        sigma: diffusion of the reference process.

    Raises:
        UserError: sigma not above 0.
    """

    sigma: float = 1.0
    times = (MARGIN, 1 - MARGIN)
    source_std = 1.0
    noisy = True

    def __post_init__(self) -> None:
        if self.sigma <= 0:
            raise UserError(
                f"a bridge's sigma must be positive, got {self.sigma:g}; without noise take LinearPath"
            )

    def coefficients(self, t: Tensor) -> Coefficients:
        """Return them; see `ConditionalPath`."""
        root, one = (t * (1 - t)).sqrt(), torch.ones_like(t)
        return Coefficients(t, 1 - t, self.sigma * root, one, -one, self.sigma * (0.5 - t) / root)

    def __call__(
        self, x0: Tensor, x1: Tensor, t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return x_t and u_t; see `ConditionalPath`."""
        eps, between = _given(noise), x1 - x0
        root = (t * (1 - t)).sqrt()
        x_t = torch.addcmul(x0, t, between)
        return (
            torch.addcmul(x_t, root, eps, value=self.sigma),
            torch.addcmul(between, (0.5 - t) / root, eps, value=self.sigma),
        )


@dataclass(frozen=True)
class VariancePreservingPath:
    """The variance preserving diffusion, run from noise to data (lipman2023flow, 18, 19).

    With T(s) the integral of beta over 0..s, beta(s) = beta_min + s (beta_max - beta_min): alpha_t = e^(-T(1 - t)/2),
    sigma_t^2 = 1 - alpha_t^2.

    Args:
        beta_min: beta at the data.
        beta_max: beta at the noise.

    Raises:
        UserError: not 0 < beta_min <= beta_max.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    times = (0.0, 1 - MARGIN)
    source_std = 1.0
    noisy = False

    def __post_init__(self) -> None:
        if not 0 < self.beta_min <= self.beta_max:
            raise UserError(f"needed 0 < beta_min <= beta_max, got {self.beta_min:g} and {self.beta_max:g}")

    def coefficients(self, t: Tensor) -> Coefficients:
        """Return them; see `ConditionalPath`."""
        s, rise = 1 - t, self.beta_max - self.beta_min
        integral, beta = s * (self.beta_min + 0.5 * rise * s), self.beta_min + rise * s
        alpha, sigma = torch.exp(-0.5 * integral), torch.sqrt(-torch.expm1(-integral))
        zero = torch.zeros_like(t)
        return Coefficients(
            alpha, sigma, zero, 0.5 * beta * alpha, -0.5 * beta * alpha.square() / sigma, zero
        )

    def __call__(
        self, x0: Tensor, x1: Tensor, t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return x_t and u_t; see `ConditionalPath`."""
        c = self.coefficients(t)
        return torch.addcmul(c.alpha * x1, c.sigma, x0), torch.addcmul(c.d_alpha * x1, c.d_sigma, x0)


@dataclass(frozen=True)
class VarianceExplodingPath:
    """The variance exploding diffusion, run from noise to data: x_t ~ N(x1, sigma_{1-t}^2 I) (lipman2023flow, 16, 17).

    sigma_s^2 = sigma_min^2 (r^(2s) - 1), r = sigma_max / sigma_min: the geometric noise of the score models, less its
    start, for sigma_0 = 0. The source is N(0, sigma_max^2 I).

    Args:
        sigma_min: scale of the least noise.
        sigma_max: of the most; should be well above the spread of the data.

    Raises:
        UserError: not 0 < sigma_min < sigma_max.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    times = (0.0, 1 - MARGIN)
    noisy = False

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise UserError(
                f"needed 0 < sigma_min < sigma_max, got {self.sigma_min:g} and {self.sigma_max:g}"
            )

    @property
    def source_std(self) -> float:
        """sigma_max."""
        return self.sigma_max

    def coefficients(self, t: Tensor) -> Coefficients:
        """Return them; see `ConditionalPath`."""
        ratio = self.sigma_min / self.sigma_max
        rate = -math.log(ratio)
        exponent = 2 * rate * (1 - t)
        sigma = ratio * torch.sqrt(torch.expm1(exponent))
        d_sigma = -(ratio**2) * rate * torch.exp(exponent) / sigma
        one, zero = torch.ones_like(t), torch.zeros_like(t)
        return Coefficients(one, sigma, zero, zero, d_sigma, zero)

    def __call__(
        self, x0: Tensor, x1: Tensor, t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return x_t and u_t; see `ConditionalPath`."""
        c = self.coefficients(t)
        return torch.addcmul(x1, c.sigma, x0), c.d_sigma * x0


def _given(noise: Tensor | None) -> Tensor:
    if noise is None:
        raise UserError("this path draws noise about its mean: pass noise")
    return noise
