r"""An autoencoder of images with one layer on each side, and a flow in its latent space (onken2021otflow).

| symbol | code | shape | equation |
|---|---|---|---|
| x | `x` | `(B, P)` | P pixels from 0, black, to 1, white |
| x' | `Autoencoder.target` | `(B, P)` | (x - shift) / scale |
| h | `Autoencoder.hidden` | `(B, d)` | relu(W_1 x' + b_1) |
| B(x) | `Autoencoder.encode` | `(B, d)` | (h - mean) / (std + 1e-6), mean and std of h over the training images |
| D(y) | `Autoencoder.decode` | `(B, P)` | sigmoid(W_2 ((std + 1e-6) y + mean) + b_2) |
| | `Autoencoder.loss` | scalar | mean over batch and pixels of (D(B(x)) - x')^2 |
| z | `LatentFlow.encode` | `(B, d)` | T(B(x)), T the flow, of base density N(0, I) |
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.fields.mlp import initialise
from replications.ot_flow.method import build as build_flow

LEAST = 1e-6
"""What the authors add to a standard deviation before they divide by it."""


class Autoencoder(nn.Module):
    """A layer to the latent space, a layer back.

    Args:
        pixels: P.
        latent: d.
        generator: draws the parameters (torch's default distributions).
        shift: what the pixels are taken less, before both encoding and comparison.
        scale: what they are then divided by.

    Attributes:
        mean: `(d,)`, of h; zero until `normalise_by`.
        std: `(d,)`, of h; one until then.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, pixels: int, latent: int, generator: torch.Generator, shift: float = 0.0, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.shift, self.scale = shift, scale
        self.inward, self.outward = nn.Linear(pixels, latent), nn.Linear(latent, pixels)
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("std", torch.ones(latent))
        initialise(self, generator)

    def target(self, x: Tensor) -> Tensor:
        """Return x' `(B, P)`, which is encoded and which the output is compared with in training."""
        return (x - self.shift) / self.scale

    def hidden(self, x: Tensor) -> Tensor:
        """Return h `(B, d)`, the latent point before it is normalised."""
        return functional.relu(self.inward(self.target(x)))

    def encode(self, x: Tensor) -> Tensor:
        """Return the normalised latent points `(B, d)` of images `(B, P)`."""
        return (self.hidden(x) - self.mean) / (self.std + LEAST)

    def decode(self, y: Tensor) -> Tensor:
        """Return images `(B, P)`, pixels in 0..1, of normalised latent points `(B, d)`."""
        return torch.sigmoid(self.outward(y * (self.std + LEAST) + self.mean))

    def forward(self, x: Tensor) -> Tensor:
        """Return D(B(x)) `(B, P)`, without the rounding that normalising and its undoing bring."""
        return torch.sigmoid(self.outward(self.hidden(x)))

    def loss(self, x: Tensor) -> Tensor:
        """Return the mean squared error per pixel, a scalar, in the unit of x'."""
        return functional.mse_loss(self(x), self.target(x))

    @torch.no_grad()
    def normalise_by(self, x: Tensor) -> None:
        """Set mean and std to those of h over images `(N, P)`; std over N, not N - 1."""
        h = self.hidden(x)
        self.mean.copy_(h.mean(0))
        self.std.copy_(h.std(0, correction=0))


class LatentFlow(nn.Module):
    """A flow of normalised latent points `(B, d)`, between images and its base.

    Args:
        autoencoder: between images and latent points.
        flow: between latent points and the base; for itself a flow as any other.
    """

    def __init__(self, autoencoder: Autoencoder, flow: Flow) -> None:
        super().__init__()
        self.autoencoder, self.flow = autoencoder, flow

    def encode(self, x: Tensor, integration: Integration | None = None) -> Tensor:
        """Return base points z `(B, d)` of images `(B, P)`."""
        return self.flow.encode(self.autoencoder.encode(x), integration)

    def decode(self, z: Tensor, integration: Integration | None = None) -> Tensor:
        """Return images `(B, P)`, pixels in 0..1, of base points `(B, d)`."""
        return self.autoencoder.decode(self.flow.decode(z, integration))

    def log_prob(self, x: Tensor, integration: Integration | None = None) -> Tensor:
        """Return the log-density, in nats, `(B,)`, of the normalised latent points of images `(B, P)`.

        That is no density of images: the autoencoder is not invertible.
        """
        return self.flow.log_prob(self.autoencoder.encode(x), integration=integration)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, integration: Integration | None = None) -> Tensor:
        """Return n images `(n, P)`, decoded from the flow's samples."""
        images: Tensor = self.autoencoder.decode(self.flow.sample(n, generator, integration))
        return images


def build(
    pixels: int,
    latent: int,
    width: int,
    layers: int = 2,
    shift: float = 0.0,
    scale: float = 1.0,
    generator: torch.Generator | None = None,
) -> LatentFlow:
    """Return an untrained autoencoder with an OT-Flow in its latent space.

    Args:
        pixels: P.
        latent: d.
        width: m, of the potential's layers.
        layers: M.
        shift: see `Autoencoder`.
        scale: see `Autoencoder`.
        generator: draws the parameters; None where they will be loaded.
    """
    generator = generator or torch.Generator().manual_seed(0)
    autoencoder = Autoencoder(pixels, latent, generator, shift, scale)
    return LatentFlow(autoencoder, build_flow(latent, width, layers, generator))


def size(module: nn.Module) -> int:
    """Return the number of trainable scalars."""
    return sum(p.numel() for p in module.parameters())
