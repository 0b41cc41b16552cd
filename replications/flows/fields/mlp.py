"""Vector fields f(t, x) by multilayer perceptrons, with the usual ways to let them depend on time.

| symbol | code | shape | equation |
|---|---|---|---|
| t | `t` | scalar or `(B, 1)` | time |
| x | `x` | `(B, D)` | state |
| none | `nn.Linear` | | W x + b |
| input | `MlpField` | | net([x, t]), time enters once, at the first layer (tong2024improving) |
| concat | `ConcatLinear` | | W [x, t] + b |
| concatsquash | `ConcatSquashLinear` | | (W x + b) * sigmoid(a t + c) + d t |
| output | `MlpField` | | net(x) + a t + c, time enters once, at the output |
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "softplus": functional.softplus,
    "elu": functional.elu,
    "silu": functional.silu,
    "selu": functional.selu,
}
TIMES = ("none", "input", "concat", "concatsquash", "output")


class ConcatLinear(nn.Linear):
    """The affine map W [x, t] + b of a state `(..., in)` with t appended (grathwohl2019ffjord)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features + 1, out_features)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:  # type: ignore[override]
        """Return `(..., out)`; t is a scalar or `(B, 1)`."""
        if (
            t.ndim
        ):  # a time for each state: one product with the time appended is cheaper than two and their sum
            return functional.linear(torch.cat((x, t.expand(*x.shape[:-1], 1)), -1), self.weight, self.bias)
        # The column of W that meets t is applied apart: no copy of the state to append one number to it.
        return functional.linear(x, self.weight[:, :-1]) + (self.bias + t * self.weight[:, -1])


class ConcatSquashLinear(nn.Module):
    """The affine map scaled and shifted by time, (W x + b) * sigmoid(a t + c) + d t (grathwohl2019ffjord)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, out_features)
        self.gate = nn.Linear(1, out_features)
        self.shift = nn.Linear(1, out_features, bias=False)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Return `(..., out)`; t is a scalar or `(B, 1)`."""
        gate: Tensor = torch.sigmoid(_affine(self.gate, t))
        return self.layer(x) * gate + t * self.shift.weight[:, 0]


class MlpField(nn.Module):
    """A multilayer perceptron as a vector field, dx/dt = f(t, x).

    Args:
        dim: D, dimension of the state.
        hidden: widths of the hidden layers.
        time: `none`, `input`, `concat`, `concatsquash` or `output`; see the table of this module.
        activation: `tanh`, `relu`, `softplus`, `elu`, `silu` or `selu`, after every layer but the last.
        generator: draws the initial parameters (torch's default distributions).

    Raises:
        ValueError: unknown time conditioning or activation.
    """

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int],
        generator: torch.Generator,
        time: str = "concat",
        activation: str = "tanh",
    ) -> None:
        super().__init__()
        if time not in TIMES:
            raise ValueError(f"time must be one of {', '.join(TIMES)}, not {time!r}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
        self.activation = ACTIVATIONS[activation]
        layer = {"concat": ConcatLinear, "concatsquash": ConcatSquashLinear}.get(time, nn.Linear)
        first, *others = itertools.pairwise((dim, *hidden, dim))
        start = ConcatLinear(*first) if time == "input" else layer(*first)
        self.layers = nn.ModuleList([start, *(layer(a, b) for a, b in others)])
        self.timed = [
            not isinstance(each, nn.Linear) or isinstance(each, ConcatLinear) for each in self.layers
        ]
        self.time = nn.Linear(1, dim) if time == "output" else None
        initialise(self, generator)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Return dx/dt `(B, D)` at the state x `(B, D)` and the time t, a scalar or `(B, 1)`."""
        h = x
        for i, layer in enumerate(self.layers):
            h = layer(t, h) if self.timed[i] else layer(h)
            if i + 1 < len(self.layers):
                h = self.activation(h)
        return h if self.time is None else h + _affine(self.time, t)


def _affine(layer: nn.Linear, t: Tensor) -> Tensor:
    """Apply `nn.Linear(1, out)` to a time that is a scalar or `(B, 1)`."""
    return t * layer.weight[:, 0] + layer.bias


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the parameters of every linear and convolution layer anew, from torch's default distributions.

    Weights and biases are U(-1/sqrt(n), 1/sqrt(n)), n inputs to one output. (Kaiming's uniform distribution
    with a = sqrt(5), which torch takes, is that.) Other layers keep what they have.
    """
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
                bound = layer.weight[0].numel() ** -0.5
                for parameter in layer.parameters(recurse=False):
                    parameter.uniform_(-bound, bound, generator=generator)
