r"""A U-Net as a velocity of images v(t, x), or v(t, x, c) of images of a class.

| symbol | code | shape | equation |
|---|---|---|---|
| t | `t` | scalar or `(B,)`, `(B, 1, 1, 1)` | time |
| x | `x` | `(B, C, H, W)` | state |
| c | `labels` | `(B,)` | classes 0..N-1, N for none |
| tau(t) | `time_features` | `(1 or B, F)` | cos(w_j t), sin(w_j t), w_j = 10^(-8 j / F), j < F/2 |
| e | `Embedding` | `(1 or B, 4F)` | silu(A silu(B tau(t)) + E_c): class and time enter by the same door |

The network is that of the diffusion models which lipman2023flow and tong2024improving train: at each size `depth`
residual blocks down and `depth` + 1 up, joined by skips, each block shifted by a linear map of e, attention where the
height is one of `attention`; the last convolutions of each block, of the attention and of the whole start at zero. The
time is not scaled, as in the code of tong2024improving. Sizes are halved upwards, 7 to 4, and meet by their skips.
There is no dropout, which would need torch's global source of randomness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from replications.flows.errors import RequestError
from replications.flows.fields.mlp import initialise
from replications.flows.fields.pushforward import push_dual


def time_features(t: Tensor, features: int) -> Tensor:
    """Return cos(w_j t) and sin(w_j t) `(B, F)` of times `(B,)`, for an even F."""
    half = features // 2
    steps = torch.arange(half, dtype=t.dtype, device=t.device)
    angles = t[:, None] * torch.exp(steps * (-math.log(10_000.0) / half))
    return torch.cat((angles.cos(), angles.sin()), -1)


class Embedding(nn.Module):
    """silu of an embedding of time and class.

    Args:
        features: F.
        classes: N; 0 for a network without classes.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.first, self.second = nn.Linear(features, 4 * features), nn.Linear(4 * features, 4 * features)
        self.classes = nn.Embedding(classes + 1, 4 * features) if classes else None

    def forward(self, t: Tensor, labels: Tensor | None) -> Tensor:
        """Return `(1 or B, 4F)`; one row serves a batch of one time and no class."""
        e = self.second(functional.silu(self.first(time_features(t.reshape(-1), self.features))))
        if self.classes is not None:
            none = self.classes.weight[-1:]
            e = e + (none if labels is None else self.classes(labels))
        return functional.silu(e)


class Residual(nn.Module):
    """x -> skip(x) + conv(silu(norm(conv(silu(norm(x))) + shift)))."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.norm_in, self.conv_in = _norm(channels), nn.Conv2d(channels, out, 3, padding=1)
        self.norm_out, self.conv_out = _norm(out), nn.Conv2d(out, out, 3, padding=1)
        self.skip = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        """Return `(B, out, H, W)`; the shift is `(1 or B, out)`."""
        h = self.conv_in(functional.silu(self.norm_in(x))) + shift[:, :, None, None]
        return cast(Tensor, self.skip(x) + self.conv_out(functional.silu(self.norm_out(h))))


class Attention(nn.Module):
    """x -> x + A softmax(q^T k / sqrt(d)) v over the pixels of an image, in heads of d channels."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // head_channels)
        self.norm, self.qkv = _norm(channels), nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(B, C, H, W)`."""
        q, k, v = (
            self.qkv(self.norm(x)).unflatten(1, (3, self.heads, -1)).flatten(4).transpose(3, 4).unbind(1)
        )
        h = functional.scaled_dot_product_attention(q, k, v)
        return cast(Tensor, x + self.out(h.transpose(2, 3).reshape(x.shape)))


class Stage(nn.Module):
    """A residual block, then attention where there is one."""

    def __init__(self, channels: int, out: int, head_channels: int) -> None:
        super().__init__()
        self.out = out
        self.block = Residual(channels, out)
        self.attention = Attention(out, head_channels) if head_channels else nn.Identity()

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        """Return `(B, out, H, W)`."""
        return cast(Tensor, self.attention(self.block(x, shift)))


class UNet(nn.Module):
    """A U-Net as a velocity field of images.

    Args:
        shape: (C, H, W).
        channels: of the first size; F.
        generator: draws the initial parameters (torch's default distributions, embeddings of classes N(0, 1)).
        mult: channels of each size, as multiples of `channels`; the sizes are H, H/2, H/4...
        depth: residual blocks of each size.
        attention: heights of the sizes that have attention; the smallest has it in any case.
        head_channels: d of each head; of narrower sizes all channels.
        classes: N.

    Raises:
        RequestError: an odd number of channels, or channels that do not divide into heads.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: int,
        generator: torch.Generator,
        mult: Sequence[int] = (1, 2, 2, 2),
        depth: int = 2,
        attention: Sequence[int] = (16,),
        head_channels: int = 64,
        classes: int = 0,
    ) -> None:
        super().__init__()
        if channels % 2:
            raise RequestError(f"the U-Net needs an even number of channels, got {channels}")
        if any(channels * m > head_channels and channels * m % head_channels for m in mult):
            raise RequestError(
                f"channels {channels} times {tuple(mult)} do not divide into heads of {head_channels}"
            )
        self.classes, self.down, self.up = classes, nn.ModuleList(), nn.ModuleList()
        heights = [-(-shape[1] // 2**level) for level in range(len(mult))]
        heads = [head_channels if height in attention else 0 for height in heights]
        self.inlet = nn.Conv2d(shape[0], channels, 3, padding=1)
        skips, now = [channels], channels
        for level, m in enumerate(mult):
            for _ in range(depth):
                self.down.append(Stage(now, channels * m, heads[level]))
                now = channels * m
                skips.append(now)
            if level + 1 < len(mult):
                self.down.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
                skips.append(now)
        self.middle = nn.ModuleList([Stage(now, now, head_channels), Stage(now, now, 0)])
        for level, m in reversed(list(enumerate(mult))):
            for _ in range(depth + 1):
                self.up.append(Stage(now + skips.pop(), channels * m, heads[level]))
                now = channels * m
            if level:
                self.up.append(nn.Conv2d(now, now, 3, padding=1))
        self.norm, self.outlet = _norm(now), nn.Conv2d(now, shape[0], 3, padding=1)
        self.embedding = Embedding(channels, classes)
        self.widths = [each.out for each in self.modules() if isinstance(each, Stage)]  # down, up, middle
        self.shifts = nn.Linear(4 * channels, sum(self.widths))
        self._initialise(generator)

    def _initialise(self, generator: torch.Generator) -> None:
        initialise(self, generator)
        if self.embedding.classes is not None:
            nn.init.normal_(self.embedding.classes.weight, generator=generator)
        for layer in self.modules():
            last = {Residual: "conv_out", Attention: "out", UNet: "outlet"}.get(type(layer))
            for parameter in getattr(layer, last).parameters() if last else ():
                nn.init.zeros_(parameter)

    def forward(self, t: Tensor, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return v `(B, C, H, W)`; without labels all images are of no class.

        Args:
            t: a scalar, or one time for each image.
            x: states `(B, C, H, W)`.
            labels: classes `(B,)`.
        """
        shifts = iter(self.shifts(self.embedding(t.to(x.dtype), labels)).split(self.widths, 1))
        down, up, middle = self.down, self.up, self.middle
        of_down = [next(shifts) if isinstance(each, Stage) else None for each in down]
        of_up = [next(shifts) if isinstance(each, Stage) else None for each in up]
        x = self.inlet(x)
        skips = [x]
        for layer, shift in zip(down, of_down):
            x = layer(x) if shift is None else layer(x, shift)
            skips.append(x)
        for layer in middle:
            x = layer(x, next(shifts))
        for layer, shift in zip(up, of_up):
            if shift is None:
                x = layer(functional.interpolate(x, size=skips[-1].shape[2:], mode="nearest"))
            else:
                x = layer(torch.cat((x, skips.pop()), 1), shift)
        return cast(Tensor, self.outlet(functional.silu(self.norm(x))))

    def pushforward(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return f `(B, C, H, W)` and J v `(K, B, C, H, W)`, without class; see `pushforward.push`."""
        return push_attention(self, t, x, v)


def push_attention(field: nn.Module, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Do as `pushforward.push` for a field with attention, whose fused kernels no jvp passes."""
    with sdpa_kernel(SDPBackend.MATH):
        return push_dual(field, t, x, v)


def _norm(channels: int) -> nn.GroupNorm:
    """Return group norm of 32 groups, of fewer where they would have less than 4 channels.

    A group of one channel would take away all that time and class add to it.
    """
    groups = next(g for g in (32, 16, 8, 4, 2, 1) if channels % g == 0 and (channels >= 4 * g or g == 1))
    return nn.GroupNorm(groups, channels)
