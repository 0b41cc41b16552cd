r"""A trained velocity as a flow with a density, a sampler and everything else that a CNF has.

| symbol | code | shape | equation |
|---|---|---|---|
| v(t, x) | `velocity` | `(B, *S)` | from noise at `times[0]` to data at `times[1]` |
| f(s, x) | `Reversed` | `(B, *S)` | f(s, x) = -v(end - s, x): from data at s = 0 to noise, as a `CNF` has it |
| v_w | `Guided` | `(B, *S)` | (1 + w) v(t, x, c) - w v(t, x, null), null = N (ho2022classifier) |

With w = 0 the velocity is that of the class alone. Others write w for what is 1 + w here. One evaluation of v_w is one
of the NFE, and two of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from bench.errors import UserError
from replications.flow_matching.paths import OptimalTransportPath
from replications.flows.density.cnf import CNF
from replications.flows.density.flow import Flow, Prior
from replications.flows.density.images import UnitCubeFlow
from replications.flows.density.integration import DEFAULT, Integration
from replications.flows.density.priors import IsotropicNormal, ShapedNormal
from replications.flows.fields.mlp import MlpField
from replications.flows.fields.pushforward import push
from replications.flows.fields.unet import UNet, push_attention

UNIT = OptimalTransportPath.times


class Reversed(nn.Module):
    """The field f(s, x) = -v(end - s, x).

    Args:
        velocity: v, called as `velocity(t, x)`.
        end: where the data is in the time of v.
    """

    def __init__(self, velocity: nn.Module, end: float = 1.0) -> None:
        super().__init__()
        self.velocity, self.end = velocity, end

    def forward(self, s: Tensor, x: Tensor) -> Tensor:
        """Return f `(B, *S)` at a scalar s."""
        return cast(
            Tensor, -self.velocity(torch.rsub(s, self.end), x)
        )  # one call of torch, `end - s` is more

    def pushforward(self, s: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return f and J v `(K, B, *S)` as fast as the velocity can; see `replications.flows.fields.pushforward`."""
        f, jv = push(self.velocity, self.end - s, x, v)
        return -f, -jv


class Guided(nn.Module):
    """The velocity v_w(t, x) = (1 + w) v(t, x, c) - w v(t, x, null) of a batch with given classes.

    Args:
        velocity: v, called as `velocity(t, x, labels)`.
        labels: c `(B,)`; the states must be as many.
        null: the class that stands for none.
        w: strength of the guidance.
    """

    labels: Tensor

    def __init__(self, velocity: nn.Module, labels: Tensor, null: int, w: float = 0.0) -> None:
        super().__init__()
        self.velocity, self.w = velocity, w
        both = labels if w == 0 else torch.cat((labels, torch.full_like(labels, null)))
        self.register_buffer("labels", both, persistent=False)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Return v_w `(B, *S)` at a scalar t."""
        if self.w == 0:
            return cast(Tensor, self.velocity(t, x, self.labels))
        # Both halves in one call: half the kernels, and on a GPU the same matrices twice as full.
        given, free = self.velocity(t, torch.cat((x, x)), self.labels).chunk(2)
        return torch.lerp(free, given, 1 + self.w)

    def pushforward(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return v_w `(B, *S)` and J v `(K, B, *S)`; see `replications.flows.fields.pushforward.push`."""
        return push_attention(self, t, x, v)


def flow_of(
    velocity: nn.Module, prior: Prior, times: Sequence[float] = UNIT, integration: Integration = DEFAULT
) -> CNF:
    """Return the flow of a velocity that runs from noise at times[0] to data at times[1], a path's `times`."""
    start, end = times
    return CNF(Reversed(velocity, end), prior, integration, T=end - start)


def build(
    dim: int,
    hidden: Sequence[int],
    activation: str = "selu",
    time: str = "input",
    scale: float = 1.0,
    times: Sequence[float] = UNIT,
    generator: torch.Generator | None = None,
) -> CNF:
    """Return an untrained flow of points, by a multilayer perceptron.

    Args:
        dim: D.
        hidden: widths of the hidden layers.
        activation: see `MlpField`; `selu` is that of tong2024improving.
        time: see `MlpField`; `input` is that of tong2024improving.
        scale: standard deviation of the base density, the path's `source_std`.
        times: the path's `times`.
        generator: draws the parameters; None where they will be loaded.
    """
    generator = generator or torch.Generator().manual_seed(0)
    return flow_of(MlpField(dim, hidden, generator, time, activation), IsotropicNormal(dim, scale), times)


def build_images(
    shape: Sequence[int],
    channels: int,
    mult: Sequence[int] = (1, 2, 2, 2),
    depth: int = 2,
    attention: Sequence[int] = (16,),
    head_channels: int = 64,
    classes: int = 0,
    scale: float = 1.0,
    times: Sequence[float] = UNIT,
    generator: torch.Generator | None = None,
) -> UnitCubeFlow:
    """Return an untrained flow of images x in the unit cube, by a U-Net of y = 2x - 1; it is y that is regressed.

    Args:
        shape: (C, H, W).
        channels: see `UNet`, as for all up to `classes`.
        mult: channels of each size.
        depth: residual blocks of each size.
        attention: heights with attention.
        head_channels: of each head.
        classes: N; the flow itself is that of images without class, `of_class` gives the others.
        scale: standard deviation of the base density, the path's `source_std`.
        times: the path's `times`.
        generator: draws the parameters; None where they will be loaded.
    """
    generator = generator or torch.Generator().manual_seed(0)
    unet = UNet(shape, channels, generator, mult, depth, attention, head_channels, classes)
    return UnitCubeFlow(flow_of(unet, ShapedNormal(tuple(shape), scale), times), alpha=None)


def velocity_of(flow: Flow) -> nn.Module:
    """Return v of a flow that this module built."""
    inner = flow.flow if isinstance(flow, UnitCubeFlow) else flow
    return cast(Reversed, cast(CNF, inner).field).velocity


def of_class(flow: UnitCubeFlow, labels: Tensor, w: float = 0.0) -> UnitCubeFlow:
    """Return the flow of images of given classes, with shared parameters, for batches of that very size.

    Args:
        flow: of a U-Net with classes.
        labels: c `(B,)`.
        w: strength of the guidance; with w = 0 the density is that of the class.

    Raises:
        UserError: a network without classes, or labels outside 0..N.
    """
    unet, inner = cast(UNet, velocity_of(flow)), cast(CNF, flow.flow)
    if not unet.classes:
        raise UserError("the network knows no classes: build it with classes=N")
    if labels.min() < 0 or labels.max() > unet.classes:
        raise UserError(f"labels must lie in 0..{unet.classes}, the last for none")
    end = cast(Reversed, inner.field).end
    guided = Guided(unet, labels, unet.classes, w)
    return UnitCubeFlow(flow_of(guided, inner.prior, (end - inner.T, end), inner.integration), alpha=None)
