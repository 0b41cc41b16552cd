"""The companion text's dynamics: 128-128 hidden units on [h, t], ReLU and dropout as printed, or smooth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from replications.flows.fields.mlp import initialise

FIELDS = {"smooth": (nn.Tanh, 0.0), "relu": (nn.ReLU, 0.0), "dropout": (nn.ReLU, 0.1)}
"""Kind -> activation, probability of dropout."""


class Dropout(nn.Module):
    """Dropout that draws a new mask at every call from its own generator.

    Args:
        p: probability that a unit is set to zero; the others are scaled by 1 / (1 - p).
        generator: draws the masks.
    """

    def __init__(self, p: float, generator: torch.Generator) -> None:
        super().__init__()
        self.p, self.generator = p, generator

    def forward(self, x: Tensor) -> Tensor:
        """Return the masked units."""
        keep = torch.rand(x.shape, generator=self.generator, dtype=x.dtype) >= self.p
        return x * keep / (1 - self.p)


class NotesField(nn.Module):
    """The companion text's dynamics: two hidden layers on [h, t].

    Args:
        kind: `smooth`, `relu` or `dropout`.
        dim: D.
        width: hidden units a layer.
        generator: draws the parameters, then the masks.
    """

    def __init__(self, kind: str, dim: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        activation, p = FIELDS[kind]
        layers = [nn.Linear(dim + 1, width), activation(), nn.Linear(width, width), activation()]
        dropout = [Dropout(p, generator)] if p else []
        self.net = nn.Sequential(*layers, *dropout, nn.Linear(width, dim)).double()
        initialise(self, generator)

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """Return f(t, h) `(B, D)`."""
        output: Tensor = self.net(torch.cat((h, t.expand(len(h), 1)), dim=1))
        return output
