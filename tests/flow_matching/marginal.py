r"""What flow matching tends to on a Gaussian mixture, in closed form (lipman2023flow, 8).

| symbol | code | shape | equation |
|---|---|---|---|
| m_k, S_k | `means`, `variances` | `(..., K, D)` | equal parts of q = 1/K sum_k N(m_k, diag S_k), the law of x1 |
| p_t | `marginal` | | 1/K sum_k N(alpha_t m_k, V_k), V_k = alpha_t^2 S_k + sigma_t^2 s^2 + gamma_t^2 |
| u_t(x) | `marginal_field` | `(B, D)` | E[u_t given x_t = x], for x0 ~ N(0, s^2 I) independent of x1 |

Given the part k, x_t and u_t are jointly Gaussian with covariance C_k = (alpha'_t alpha_t) S_k + (sigma'_t sigma_t) s^2
+ gamma'_t gamma_t, so that u_t(x) = sum_k P(k given x) [alpha'_t m_k + C_k / V_k (x - alpha_t m_k)]. It is the
minimiser of the flow matching loss, and its flow carries p_0 to p_1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from replications.flow_matching.paths import ConditionalPath


@dataclass(frozen=True)
class GaussianMixture:
    """The density 1/K sum_k N(m_k, diag S_k), a target, or the base density of a flow.

    Args:
        means: m_k `(..., K, D)`; leading axes are those of a batch of mixtures, one for each point.
        variances: S_k, which broadcast against the means.
    """

    means: Tensor
    variances: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q(x) in nats, `(B,)`, of points `(B, D)`."""
        return self._log_parts(x).logsumexp(-1) - math.log(self.means.shape[-2])

    def responsibilities(self, x: Tensor) -> Tensor:
        """Return P(k given x), `(B, K)`."""
        return self._log_parts(x).softmax(-1)

    def sample(
        self,
        n: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        device: str | None = None,
    ) -> Tensor:
        """Return n points `(n, D)` of one mixture; drawn on the generator's device, then moved to `device`."""
        parts, dim = self.means.shape
        k = torch.randint(parts, (n,), generator=generator, device=generator.device)
        noise = torch.randn(n, dim, generator=generator, dtype=dtype, device=generator.device)
        stds = self.variances.expand_as(self.means).sqrt()
        return (self.means.to(noise)[k] + stds.to(noise)[k] * noise).to(device)

    def _log_parts(self, x: Tensor) -> Tensor:
        squares = (x[:, None] - self.means).square() / self.variances
        constants = (2 * math.pi * self.variances).log().expand_as(squares)
        return -0.5 * (squares + constants).sum(-1)


def marginal(path: ConditionalPath, target: GaussianMixture, t: Tensor) -> GaussianMixture:
    """Return p_t at a scalar t or a time for each point, `(B, 1)`."""
    c = path.coefficients(t[..., None])
    noise = (path.source_std * c.sigma).square() + c.gamma.square()
    return GaussianMixture(c.alpha * target.means, c.alpha.square() * target.variances + noise)


def marginal_field(path: ConditionalPath, target: GaussianMixture, t: Tensor, x: Tensor) -> Tensor:
    """Return u_t(x) `(B, D)` of points x `(B, D)` at a scalar t or a time for each, `(B, 1)`."""
    at, c = marginal(path, target, t), path.coefficients(t[..., None])
    noise = path.source_std**2 * c.d_sigma * c.sigma + c.d_gamma * c.gamma
    gain = (c.d_alpha * c.alpha * target.variances + noise) / at.variances
    parts = c.d_alpha * target.means + gain * (x[:, None] - at.means)
    return (at.responsibilities(x)[..., None] * parts).sum(1)
