r"""What a conditional path from noise to a Gaussian mixture amounts to: its marginal law and field, in closed form.

| symbol | code | shape | equation |
|---|---|---|---|
| x_t | | `(N, D)` | alpha_t x1 + sigma_t x0 + gamma_t eps; x1 ~ q, x0 ~ N(0, s^2 I), eps ~ N(0, I), independent |
| u_t | | `(N, D)` | dx_t/dt at fixed x0, x1, eps |
| n_t | | | s^2 sigma_t^2 + gamma_t^2 |
| p_t | `marginal` | | sum_k w_k N(alpha_t m_k, V_k), V_k = alpha_t^2 S_k + n_t I |
| v(t, x) | `velocity` | `(N, D)` | E[u_t given x_t = x] |

Given the part k, x_t and u_t are jointly normal with covariance C_k = alpha'_t alpha_t S_k + n'_t / 2 I, hence
v(t, x) = sum_k P(k given x) [alpha'_t m_k + C_k V_k^-1 (x - alpha_t m_k)]. It is the minimiser of the flow matching
loss (lipman2023flow, 8), and its flow carries p_0 to p_1. The coupling of x0 with x1 must be the independent one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from replications.tasks.mixtures.law import Mixture


class Coefficients(Protocol):
    """alpha_t, sigma_t, gamma_t and their derivatives at some times, shaped as these."""

    @property
    def alpha(self) -> Tensor:
        """Factor of the data."""

    @property
    def sigma(self) -> Tensor:
        """Factor of the noise at the start."""

    @property
    def gamma(self) -> Tensor:
        """Factor of the noise on the way."""

    @property
    def d_alpha(self) -> Tensor:
        """alpha'_t."""

    @property
    def d_sigma(self) -> Tensor:
        """sigma'_t."""

    @property
    def d_gamma(self) -> Tensor:
        """gamma'_t."""


Schedule = Callable[[Tensor], Coefficients]
"""t -> coefficients, such as the method `coefficients` of a path of flow matching."""


def marginal(target: Mixture, schedule: Schedule, t: float | Tensor, source_std: float = 1.0) -> Mixture:
    """Return p_t.

    Args:
        target: law of the data.
        schedule: of the path.
        t: a time, or one for each point, `(N, 1)`.
        source_std: s, of the noise N(0, s^2 I).
    """
    c = _each(schedule, t)
    variances = c.alpha.square() * target.variances + (source_std * c.sigma).square() + c.gamma.square()
    return Mixture(target.weights, c.alpha * target.means, variances, target.axes)


def velocity(
    target: Mixture, schedule: Schedule, t: float | Tensor, x: Tensor, source_std: float = 1.0
) -> Tensor:
    """Return v(t, x) `(N, D)` in float64 of points `(N, D)`; the other arguments are those of `marginal`."""
    c, law = _each(schedule, t), marginal(target, schedule, t, source_std)
    half_d_noise = source_std**2 * c.d_sigma * c.sigma + c.d_gamma * c.gamma
    gain = (c.d_alpha * c.alpha * target.variances + half_d_noise) / law.variances
    along = law.along(x)
    values = (c.d_alpha * target.means).to(x.device) + law.from_axes(gain.to(x.device) * along)
    return law.mean_over_parts(along, values)


class _Values(NamedTuple):
    alpha: Tensor
    sigma: Tensor
    gamma: Tensor
    d_alpha: Tensor
    d_sigma: Tensor
    d_gamma: Tensor


def _each(schedule: Schedule, t: float | Tensor) -> _Values:
    """Return the coefficients in float64, with an axis more than t, which goes along the parts of a mixture."""
    c = schedule(torch.as_tensor(t, dtype=torch.float64, device="cpu")[..., None])
    return _Values(c.alpha, c.sigma, c.gamma, c.d_alpha, c.d_sigma, c.d_gamma)
