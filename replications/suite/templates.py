"""Templates that `cnf-bench new` writes."""

from __future__ import annotations

METHOD = '''"""A method for the suite: an affine coupling of two halves, to start from.

    cnf-bench check FILE.py:build
    cnf-bench run suite.density2d --method FILE.py:build
"""

import torch
from torch import nn


class Coupling(nn.Module):
    """Shift and scale one half of the coordinates by a network of the other, then the other way round."""

    def __init__(self, dim, generator):
        super().__init__()
        self.half = dim // 2
        sizes = [(self.half, dim - self.half), (dim - self.half, self.half)] * 2
        self.nets = nn.ModuleList(network(a, 2 * b, generator) for a, b in sizes)
        self.dim = dim

    def log_prob(self, x):
        """log p(x) of points (N, D), in nats, (N,)."""
        z, log_scale = x, torch.zeros(len(x))
        for i, net in enumerate(self.nets):
            given, moved = self.parts(z, i)
            shift, scale = net(given).chunk(2, dim=1)
            scale = torch.tanh(scale)
            z = self.joined(given, (moved - shift) * torch.exp(-scale), i)
            log_scale = log_scale - scale.sum(1)
        return torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_scale

    def loss(self, x, generator):
        """The loss of a batch, a scalar; all that is random comes from the generator."""
        return -self.log_prob(x).mean()

    @torch.no_grad()
    def sample(self, n, generator):
        """n samples (n, D)."""
        z = torch.randn(n, self.dim, generator=generator)
        for i in reversed(range(len(self.nets))):
            given, moved = self.parts(z, i)
            shift, scale = self.nets[i](given).chunk(2, dim=1)
            z = self.joined(given, moved * torch.exp(torch.tanh(scale)) + shift, i)
        return z

    def parts(self, z, i):
        first, second = z[:, : self.half], z[:, self.half :]
        return (first, second) if i % 2 == 0 else (second, first)

    def joined(self, given, moved, i):
        return torch.cat((given, moved) if i % 2 == 0 else (moved, given), dim=1)


def network(inputs, outputs, generator):
    net = nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1, generator=generator)
    return net


def build(dim, generator):
    return Coupling(dim, generator)
'''

TEMPLATES = {"method": METHOD}
