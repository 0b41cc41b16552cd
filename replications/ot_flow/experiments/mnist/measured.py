r"""What is measured of an autoencoder and of a flow in its latent space: values, of model and images alone.

| quantity | code | shape | equation |
|---|---|---|---|
| reconstruction error | `reconstruction_errors` | `(N,)` | mean over pixels of (D(B(x_n)) - x_n)^2, pixels in 0..1 |
| interpolation | `interpolated` | `(s^2, d)` | sum over corners of their bilinear weights times their base points |
| distance | `median_mmd` | | squared MMD, Gaussian kernel as wide as the median distance of the test points |
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.metrics.transport import mmd
from replications.flows.density.integration import Integration
from replications.ot_flow.experiments.mnist.autoencoder import Autoencoder, LatentFlow
from replications.tasks.density2d.evaluation import as_array


@torch.no_grad()
def reconstruction_errors(autoencoder: Autoencoder, x: Tensor, batch: int = 10_000) -> Tensor:
    """Return the mean squared error per pixel of images `(N, P)`, `(N,)`; pixels in 0..1 whatever training compared."""
    return torch.cat([(autoencoder(part) - part).square().mean(1) for part in x.split(batch)])


def median_mmd(samples: Tensor, test: Tensor) -> tuple[float, float]:
    """Return the squared MMD of samples `(n, d)` from the first n test points `(N, d)`, and its standard error.

    The paper's kernel, exp(-|x - y|^2), sees nothing in so many dimensions, where any two points are far apart.
    """
    return mmd(as_array(samples), as_array(test[: len(samples)]))


@torch.no_grad()
def interpolation(model: LatentFlow, corners: Tensor, side: int, integration: Integration) -> Tensor:
    """Return images `(side^2, P)`, bilinear between the base points of four images `(4, P)`, row by row.

    The corners are shown as they are, not as the model decodes them: as in the authors' figure.
    """
    grid = model.decode(interpolated(model.encode(corners, integration), side), integration)
    grid[[0, side - 1, side * (side - 1), side * side - 1]] = corners
    return grid


def interpolated(corners: Tensor, side: int) -> Tensor:
    """Return points `(side^2, d)`, row by row, bilinear between four `(4, d)`: the first row's ends, the last row's."""
    s = torch.linspace(0, 1, side, dtype=corners.dtype, device=corners.device)
    ends = torch.stack((1 - s, s), 1)
    weights = torch.einsum("ia,jb->ijab", ends, ends).reshape(side * side, 4)
    return weights @ corners
