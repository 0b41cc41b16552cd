r"""Planar flows, continuous in time (chen2018neural) and layer by layer (rezende2015variational).

| symbol | code | shape | equation |
|---|---|---|---|
| w_n, u_n, b_n | `w`, `u`, `b` | `(M, D)`, `(M, D)`, `(M,)` | parameters of unit or layer n |
| sigma_n(t) | `PlanarField.gate` | `(M,)` | in (0, 1), a network of t |
| dz/dt | `PlanarField.forward` | `(B, D)` | sum_n sigma_n(t) u_n tanh(w_n^T z + b_n) |
| tr df/dz | `PlanarField.divergence` | `(B,)` | sum_n sigma_n(t) u_n^T w_n tanh'(w_n^T z + b_n) |
| T(x) | `PlanarLayers` | `(B, D)` | z <- z + u^_n tanh(w_n^T z + b_n), n = 1..M, from z = x |
| s_n | `s` | `(M,)` | 1 + w_n^T u^_n = log(1 + exp(w_n^T u_n)) > 0, which makes layer n invertible |
| u^_n | `u_hat` | `(M, D)` | u_n + (s_n - 1 - w_n^T u_n) w_n / \|w_n\|^2 |
| log det dT/dx | `Path.delta` | `(B,)` | sum_n log(1 + w_n^T u^_n tanh'(w_n^T z + b_n)) |

No paper says where the layers start. Small u_n have s_n = log 2, no small change: 64 such layers shrink areas by many
orders of magnitude. So w_n^T u_n starts at log(e - 1), where s_n = 1 and a layer keeps areas; `shrunk` leaves u_n
small, to show the effect.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from replications.flows.density.divergence import Evaluation
from replications.flows.density.flow import Flow, Path, Prior, Request
from replications.flows.density.integration import Integration
from replications.flows.fields.mlp import initialise


def draw_units(units: int, dim: int, generator: torch.Generator) -> tuple[nn.Parameter, ...]:
    """Return w `(M, D)`, u `(M, D)`, b `(M,)`, uniform with |w_i|, |b| < 1/sqrt(D) and |u_i| < 1/sqrt(M)."""

    def uniform(bound: float, *shape: int) -> nn.Parameter:
        return nn.Parameter(bound * (2 * torch.rand(shape, generator=generator) - 1))

    return uniform(dim**-0.5, units, dim), uniform(units**-0.5, units, dim), uniform(dim**-0.5, units)


class PlanarField(nn.Module):
    """The field of a continuous planar flow, f(t, z) = sum_n sigma_n(t) u_n tanh(w_n^T z + b_n).

    Args:
        dim: D, dimension of the state.
        units: M, hidden units.
        gate_hidden: hidden units of the gates' network, sigma(t) = sigmoid(A tanh(a t + c) + d).
        generator: draws the initial parameters.
    """

    def __init__(self, dim: int, units: int, gate_hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.w, self.u, self.b = draw_units(units, dim, generator)
        self.gate = nn.Sequential(
            nn.Linear(1, gate_hidden), nn.Tanh(), nn.Linear(gate_hidden, units), nn.Sigmoid()
        )
        initialise(self.gate, generator)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return dz/dt `(B, D)` at the states z `(B, D)` and the scalar t."""
        return self._hidden(z) @ self._gated(t)

    def divergence(self, t: Tensor, z: Tensor) -> Evaluation:
        """Return dz/dt `(B, D)` and its divergence `(B,)`, at the cost of O(M) for each state."""
        h, u = self._hidden(z), self._gated(t)
        return Evaluation(h @ u, (1 - h.square()) @ (self.w * u).sum(1))

    def pushforward(self, t: Tensor, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return dz/dt `(B, D)` and J v `(K, B, D)` for tangents v `(K, B, D)`."""
        h, u = self._hidden(z), self._gated(t)
        return h @ u, ((1 - h.square()) * functional.linear(v, self.w)) @ u

    def _hidden(self, z: Tensor) -> Tensor:
        return torch.tanh(functional.linear(z, self.w, self.b))

    def _gated(self, t: Tensor) -> Tensor:
        """Return sigma_n(t) u_n, `(M, D)`."""
        return self.gate(t.reshape(1))[:, None] * self.u


class PlanarLayers(Flow):
    """A planar normalizing flow of M layers: data to base in closed form, base to data by a root for each layer.

    Nothing is integrated, so that `eps`, `generator` and `integration` change nothing. An evaluation is a layer passed.

    Args:
        dim: D, dimension of the data.
        layers: M.
        prior: density p_0 of z.
        generator: draws the initial parameters.
        shrunk: start with s_n about log 2 in place of 1.
    """

    def __init__(
        self, dim: int, layers: int, prior: Prior, generator: torch.Generator, shrunk: bool = False
    ) -> None:
        super().__init__(prior)
        self.w, self.u, self.b = draw_units(layers, dim, generator)
        if not shrunk:
            with torch.no_grad():
                self.u.add_(self._along((self.w * self.u).sum(1), math.log(math.e - 1)))

    def constrained(self) -> tuple[Tensor, Tensor]:
        """Return u^ `(M, D)` and s `(M,)`."""
        a = (self.w * self.u).sum(1)
        s = functional.softplus(a)
        return self.u + self._along(a, s - 1), s

    def _along(self, a: Tensor, target: Tensor | float) -> Tensor:
        """Return what to add to vectors with w_n^T v_n = a_n, along w_n, for that to be the target."""
        return ((target - a) / self.w.square().sum(1))[:, None] * self.w

    def _carry(self, x: Tensor, request: Request) -> Path:
        """Carry data x `(B, D)` to the base, with log det."""
        (u_hat, s), hidden = self.constrained(), []
        for layer in zip(self.w.unbind(), u_hat.unbind(), self.b.unbind()):
            x, h = pass_layer(layer, x)
            hidden.append(h)
        self.counter.count(len(hidden))
        squares = torch.stack(hidden).square()
        # 1 + (s - 1)(1 - h^2) as a sum of positive terms: s may be far below the rounding of 1.
        return Path(x, torch.log(squares + s[:, None] * (1 - squares)).sum(0), {})

    def encode(self, x: Tensor, integration: Integration | None = None) -> Tensor:
        """Return z of data x `(B, D)`."""
        return self.path(x).z

    def decode(self, z: Tensor, integration: Integration | None = None) -> Tensor:
        """Return x of base points z `(B, D)`, with gradient.

        Layer by layer from the last, a = w^T x solves a + (s - 1) tanh(a + b) = w^T z, and x = z - u^ tanh(a + b).
        """
        u_hat, s = self.constrained()
        for n in reversed(range(len(s))):
            a = planar_root(z @ self.w[n], s[n], self.b[n])
            z = torch.addr(z, torch.tanh(a + self.b[n]), u_hat[n], alpha=-1)
        self.counter.count(len(s))  # layers passed, either way
        return z


def pass_layer(layer: tuple[Tensor, Tensor, Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    """Return z + u^ tanh(w^T z + b) `(B, D)` and the tanh `(B,)` of a layer (w, u^, b)."""
    w, u_hat, b = layer
    h = torch.tanh(torch.addmv(b, z, w))
    return torch.addr(z, h, u_hat), h


def planar_root(y: Tensor, s: Tensor, b: Tensor) -> Tensor:
    """Return the one root a `(B,)` of a + (s - 1) tanh(a + b) = y `(B,)`, s > 0, with its first derivatives.

    The left side rises and lies within |s - 1| of a: bisection starts from y -+ |s - 1| and adds a bit a step. A Newton
    step from there, its slope taken as a constant, has the root's derivatives by y, s and b.
    """
    with torch.no_grad():
        low, high = y - (s - 1).abs(), y + (s - 1).abs()
        for _ in range(torch.finfo(y.dtype).bits):
            a = (low + high) / 2
            below = a + (s - 1) * torch.tanh(a + b) < y
            low, high = torch.where(below, a, low), torch.where(below, high, a)
    h = torch.tanh(a + b)
    slope = (h.square() + s * (1 - h.square())).detach()
    return a - (a + (s - 1) * h - y) / slope
