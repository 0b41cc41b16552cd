r"""The potential of OT-Flow, with its gradient and the trace of its Hessian in closed form (onken2021otflow).

| symbol | code | shape | equation |
|---|---|---|---|
| s | `t`, `x` | `(B, D+1)` | s = (x, t) |
| Phi | `Potential.forward` | `(B,)` | w^T N(s) + 1/2 s^T A^T A s + b^T s + c |
| N | `opening`, `layers` | `(B, m)` | u_0 = sigma(z_0), u_i = u_i-1 + h sigma(z_i); N(s) is the last |
| z_i | `_open`, `layers` | `(B, m)` | z_0 = K_0 s + b_0, z_i = K_i u_i-1 + b_i |
| h | `step` | scalar | 1 / (M - 1) for M layers, u_0 one of them |
| sigma | | | log(exp z + exp(-z)), so sigma' = tanh and sigma'' = 1 - tanh^2 |
| p_i | `p` | `(B, m)` | dPhi/du_i: p_M-1 = w, p_i-1 = p_i + h K_i^T (tanh(z_i) * p_i) |
| J_i | `spread` | `(D, B, m)` | du_i/dx, the derivatives by x_k one below another |
| P_i, G | `passed`, `gram` | `(B, m, m)`, `(m, m)` | J_i = P_i K_0 and G = K_0 K_0^T, over x alone |
| f | `GradientField` | `(B, D)` | dx/dt = -grad_x Phi (x, t) |

With * elementwise, and grad Phi = K_0^T (tanh(z_0) * p_0) + A^T A s + b, the trace of the Hessian over x is
sum_j (1 - tanh^2 z_0)_j p_0j |K_0j|^2 + h sum_i sum_j (1 - tanh^2 z_i)_j p_ij |(K_i J_i-1)_j|^2 + |A|_F^2, all norms
over x alone (11, 13): one matrix product of D B m^2 multiplications a layer.

Where D > m, |(K_i J_i-1)_j|^2 = (K_i P_i-1 G (K_i P_i-1)^T)_jj is the shorter way to the same number: B m^3 for the
first layer, 2 B m^3 for each further one, whatever D is. The paper has the first way alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.errors import UserError
from replications.flows.density.divergence import Evaluation
from replications.flows.fields.mlp import initialise

RANK = 10
"""Most rows of A."""


class Potential(nn.Module):
    """Phi(x, t): a residual network, a quadratic form of low rank, and an affine function.

    Args:
        dim: D, dimension of x.
        width: m, of all hidden layers.
        layers: M, at least 2, the opening one included.
        generator: draws K_i and b_i from torch's default distributions, A from Xavier's uniform one; w is 1, b and c 0.

    Raises:
        UserError: fewer than two layers.
    """

    def __init__(self, dim: int, width: int, layers: int, generator: torch.Generator) -> None:
        super().__init__()
        if layers < 2:
            raise UserError(f"the potential needs at least 2 layers, got {layers}")
        self.dim, self.step = dim, 1 / (layers - 1)
        self.opening = nn.Linear(dim + 1, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers - 1))
        self.w = nn.Parameter(torch.ones(width))
        self.A = nn.Parameter(torch.empty(min(RANK, dim + 1), dim + 1))
        self.b = nn.Parameter(torch.zeros(dim + 1))
        self.c = nn.Parameter(torch.zeros(()))
        self._draw(generator)

    def _draw(self, generator: torch.Generator) -> None:
        initialise(self, generator)
        nn.init.xavier_uniform_(self.A, generator=generator)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Return Phi `(B,)` at the states x `(B, D)` and a scalar time."""
        u = soft_abs(self._open(t, x))
        for layer in self.layers:
            u = u + self.step * soft_abs(layer(u))
        A_x, A_t = self.A[:, :-1], self.A[:, -1]
        quadratic = (functional.linear(x, A_x) + t * A_t).square().sum(1)
        return u @ self.w + 0.5 * quadratic + x @ self.b[:-1] + t * self.b[-1] + self.c

    def gradient(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return grad_x Phi `(B, D)` and dPhi/dt `(B,)`."""
        slopes, (p, *_) = self._slopes(t, x)
        return self._gradient(t, x, slopes[0] * p)

    def derivatives(self, t: Tensor, x: Tensor, short: bool | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return grad_x Phi `(B, D)`, dPhi/dt `(B,)` and the trace of the Hessian over x `(B,)`.

        Args:
            t: a scalar time.
            x: states `(B, D)`.
            short: whether the trace goes by G; by default where that takes fewer multiplications.
        """
        slopes, p = self._slopes(t, x)
        K = self.opening.weight[:, :-1]
        curvature = (1 - slopes[0].square()) * p[0]
        trace = curvature @ K.square().sum(1) + self.A[:, :-1].square().sum()
        if short is None:
            hidden = len(self.layers)
            short = self.dim * hidden > len(K) * (2 * hidden - 1)
        norms = (self._norms_by_gram if short else self._norms)(slopes)
        for slope, weight, norm in zip(slopes[1:], p[1:], norms, strict=True):
            trace = trace + self.step * ((1 - slope.square()) * weight * norm).sum(1)
        return *self._gradient(t, x, slopes[0] * p[0]), trace

    def _norms(self, slopes: list[Tensor]) -> Iterator[Tensor]:
        """Yield |(K_i J_i-1)_j|^2 `(B, m)` of each layer after the opening one."""
        spread = slopes[0] * self.opening.weight[:, :-1].T[:, None]
        for layer, slope in zip(self.layers, slopes[1:]):
            turned = functional.linear(spread, layer.weight)  # type: ignore[arg-type]
            yield turned.square().sum(0)
            if layer is not self.layers[-1]:
                spread = spread + self.step * slope * turned

    def _norms_by_gram(self, slopes: list[Tensor]) -> Iterator[Tensor]:
        """Yield the same by the m x m matrices P_i and G."""
        K = self.opening.weight[:, :-1]
        gram, passed = K @ K.T, torch.diag_embed(slopes[0])
        for i, layer in enumerate(self.layers):
            weight: Tensor = layer.weight  # type: ignore[assignment]
            turned = weight * slopes[0][:, None] if i == 0 else weight @ passed
            yield ((turned @ gram) * turned).sum(2)
            if i + 1 < len(self.layers):
                passed = passed + self.step * slopes[i + 1][:, :, None] * turned

    def _open(self, t: Tensor, x: Tensor) -> Tensor:
        """Return z_0; the column of K_0 that meets t is applied apart, no copy of the state to append one number."""
        K, b = self.opening.weight, self.opening.bias
        return functional.linear(x, K[:, :-1], b + t * K[:, -1])

    def _slopes(self, t: Tensor, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return tanh z_i and p_i of all layers."""
        z, slopes = self._open(t, x), []
        u = soft_abs(z)
        for i, layer in enumerate(self.layers):
            slopes.append(torch.tanh(z))
            z = layer(u)
            if i + 1 < len(self.layers):
                u = u + self.step * soft_abs(z)
        slopes.append(torch.tanh(z))
        p = [self.w.expand_as(z)]
        for layer, slope in zip(reversed(self.layers), reversed(slopes)):
            weight: Tensor = layer.weight  # type: ignore[assignment]
            p.insert(0, p[0] + self.step * functional.linear(slope * p[0], weight.T))
        return slopes, p

    def _gradient(self, t: Tensor, x: Tensor, opened: Tensor) -> tuple[Tensor, Tensor]:
        """Return K_0^T (tanh z_0 * p_0) + A^T A s + b, the parts of x and of t."""
        K, A = self.opening.weight, self.A
        As = functional.linear(x, A[:, :-1]) + t * A[:, -1]
        by_x = opened @ K[:, :-1] + As @ A[:, :-1] + self.b[:-1]
        return by_x, opened @ K[:, -1] + As @ A[:, -1] + self.b[-1]


class GradientField(nn.Module):
    """The field f(t, x) = -grad_x Phi(x, t) of a potential, with its exact divergence.

    Args:
        potential: Phi.
    """

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Return f `(B, D)` at the states x `(B, D)` and a scalar time."""
        return -self.potential.gradient(t, x)[0]

    def divergence(self, t: Tensor, x: Tensor) -> Evaluation:
        """Return f, tr df/dx = -tr Hessian, and dPhi/dt."""
        by_x, by_t, trace = self.potential.derivatives(t, x)
        return Evaluation(-by_x, -trace, potential_t=by_t)


def soft_abs(z: Tensor) -> Tensor:
    """Return log(exp z + exp(-z)), whose slope is tanh z."""
    return z.abs() + functional.softplus(-2 * z.abs())
