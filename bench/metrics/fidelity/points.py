"""`points-v1`: features of 2-D points, the empirical characteristic function at fixed frequencies.

| symbol | name in the code | meaning                                                                   |
|--------|------------------|---------------------------------------------------------------------------|
| w_k    | `frequencies`    | r (cos a, sin a), r in {1/2, 1, 2, 4}, a in {0, pi/8, ..., 7 pi/8}, `(2, 32)` |
| phi    | `forward`        | (cos w_k . x, sin w_k . x)_k / sqrt(32), `(N, 64)`, |phi(x)| = 1           |
| p(c|x) | softmax of logits | posterior of the arcs of `bench.data.toy2d.moons`, each as likely         |

Moments up to order two would say little of a law with many modes. The mean of phi is the characteristic function on
wave lengths from 1.6 to 12.6, and its covariance the same at sums and differences of frequencies, so their Frechet
distance sees place, spread and modes of sets within about [-4, 4]^2, the scale of `toy2d`. Nothing is fitted or drawn:
the map is the same on every machine. The Frechet distance of such features is at most 4, since |phi| = 1.

The classifier is Bayes' own for the two moons, from their definition: log p(x | arc) up to a constant is
log int_0^pi exp(-|x - arc(a)|^2 / (2 s^2)) da, s = 0.2, by Gauss and Legendre's rule of 128 nodes. The inception score
of points is at most 2, the number of arcs, and means something for two moons only.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

RADII = (0.5, 1.0, 2.0, 4.0)
ANGLES = 8
NODES = 128
NOISE = 0.2
"""Standard deviation of the moons' noise on the scale of `toy2d.moons`."""
FLOOR = -600.0
"""Lowest log odds: a probability that underflows to 0 would make the inception score 0 log 0."""


class PointFeatures(nn.Module):
    """phi and the logits of the two moons; float64."""

    frequencies: Tensor
    arcs: Tensor
    log_weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        angle = torch.arange(ANGLES, dtype=torch.float64) * math.pi / ANGLES
        unit = torch.stack((angle.cos(), angle.sin()))
        self.register_buffer("frequencies", torch.cat([r * unit for r in RADII], dim=1))
        nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(NODES))
        self.register_buffer("arcs", _arcs((nodes + 1) * math.pi / 2))
        self.register_buffer("log_weights", weights.log())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return phi `(B, 64)` and the logits `(B, 2)` of points `(B, 2)`."""
        phase = x @ self.frequencies
        phi = torch.cat((phase.cos(), phase.sin()), dim=1) / self.frequencies.shape[1] ** 0.5
        square = (x[:, None, None] - self.arcs).square().sum(-1)  # (B, 2, NODES)
        logits = torch.logsumexp(self.log_weights - square / (2 * NOISE**2), dim=2)
        return phi, (logits - logits.amax(1, keepdim=True)).clamp_min(FLOOR)


def _arcs(angle: Tensor) -> Tensor:
    """Return points of the upper and the lower arc, noise-free, `(2, NODES, 2)`."""
    upper = torch.stack((angle.cos(), angle.sin()), dim=1)
    lower = angle.new_tensor((1.0, 0.5)) - upper
    return 2 * torch.stack((upper, lower)) - angle.new_tensor((1.0, 0.2))
