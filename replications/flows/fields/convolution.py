"""Vector fields f(t, x) by convolutions, as FFJORD's image models have them (grathwohl2019ffjord).

| symbol | code | shape | equation |
|---|---|---|---|
| t | `t` | scalar | time |
| x | `x` | `(B, C, H, W)` | state |
| v_k | `v` | `(K, B, C, H, W)` | tangents at the states |
| W = [W_x, W_t], b | `ConcatConv2d` | `(out, in + 1, 3, 3)`, `(out,)` | x -> W * [x, t 1] + b |
| c_t | `ConcatConv2d.split` | `(1, out, H, W)` | t (W_t * 1) + b, so that W * [x, t 1] + b = W_x * x + c_t |

`*` is the 3x3 convolution with a border of zeros. Near the border W_t * 1 sums fewer of the weights, hence the axes H
and W of c_t. Tangents pass a layer as v -> W_x * v: time has no part in them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from replications.flows.fields.mlp import initialise


class ConcatConv2d(nn.Conv2d):
    """The 3x3 convolution of a state `(B, in, H, W)` with a channel of t appended, sizes kept."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels + 1, out_channels, kernel_size=3, padding=1)

    def split(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return W_x `(out, in, 3, 3)` and c_t `(1, out, H, W)` for states like x."""
        time = t.to(x.dtype).expand(1, 1, *x.shape[2:])
        # The slice is copied in any case; in this format the convolutions are faster on the CPU.
        w_x = self.weight[:, :-1].contiguous(memory_format=torch.channels_last)
        return w_x, _convolve(time, self.weight[:, -1:], self.bias)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:  # type: ignore[override]
        """Return `(B, out, H, W)`; t is a scalar."""
        w_x, c_t = self.split(t, x)
        return _convolve(x, w_x) + c_t


class ConvField(nn.Module):
    """A convolutional network as a vector field dx/dt = f(t, x), softplus after every layer but the last.

    Args:
        channels: C of the state.
        hidden: channels of the hidden layers.
        generator: draws the initial parameters (torch's default distributions).
        zero_last: start with the last layer's weights at zero; its bias keeps its draw, as in the code of
            finlay2020rnode.
    """

    def __init__(
        self, channels: int, hidden: Sequence[int], generator: torch.Generator, zero_last: bool = False
    ) -> None:
        super().__init__()
        widths = (channels, *hidden, channels)
        self.layers = nn.ModuleList(ConcatConv2d(a, b) for a, b in itertools.pairwise(widths))
        initialise(self, generator)
        if zero_last:
            nn.init.zeros_(cast(ConcatConv2d, self.layers[-1]).weight)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Return dx/dt `(B, C, H, W)` at a scalar t."""
        *hidden, last = self.layers
        for layer in hidden:
            x = functional.softplus(layer(t, x))
        return cast(Tensor, last(t, x))

    def pushforward(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return f `(B, C, H, W)` and J v `(K, B, C, H, W)`; see `replications.flows.fields.pushforward.push`.

        States and tangents go through convolutions of their own: stacked into one batch they would have to be copied
        together before each layer, which on the CPU takes as long or longer.
        """
        probes = v.shape[:2]
        v = v.flatten(0, 1)
        for i, layer in enumerate(self.layers):
            w_x, c_t = cast(ConcatConv2d, layer).split(t, x)
            z, v = _convolve(x, w_x) + c_t, _convolve(v, w_x)
            if i + 1 == len(self.layers):
                break
            # The slope of softplus; torch's own kernel for it is slow to differentiate.
            x, v = functional.softplus(z), (v.unflatten(0, probes) * z.sigmoid()).flatten(0, 1)
        return z, v.unflatten(0, probes)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the 3x3 convolution with a border of zeros."""
    return functional.conv2d(x, weight, bias, padding=1)
