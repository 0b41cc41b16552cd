r"""The multi-scale flow of images of FFJORD and RNODE (grathwohl2019ffjord, finlay2020rnode).

A scale of c channels, where a block is a continuous flow with its own network:

| | code | shape of a state |
|---|---|---|
| blocks before | `Scale.before` | `(c, h, w)` |
| each 2x2 square of pixels becomes four channels | `squeeze` | `(4c, h/2, w/2)` |
| blocks after | `Scale.after` | `(4c, h/2, w/2)` |
| half of the channels go on, the others are part of z | | `(2c, h/2, w/2)` twice |

The last scale has its blocks before and nothing else: all that is left is part of z. There are scales while both h and
w are at least 4: three for 28x28 pixels (28, 14, 7), four for 32x32 (32, 16, 8, 4). Squeeze and split have
log-determinant 0, so delta is the sum over all blocks.

Regularizers are summed over blocks too, each of them normalised by the dimensions of the state that its block sees:
`kinetic_half_mean` is K = sum_j integral of 1/(2 D_j) sum_i f_i^2 over blocks j. A block of a late scale, which sees
few dimensions, weighs as much as one that sees all. That is what the code of finlay2020rnode computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from replications.flows.density.cnf import CNF
from replications.flows.density.flow import Flow, Path, Request
from replications.flows.density.integration import DEFAULT, Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.errors import RequestError

SMALLEST = 4
"""Pixels a side of the smallest image that has a scale of its own."""

Shape = tuple[int, int, int]


def squeeze(x: Tensor) -> Tensor:
    """Return `(B, 4C, H/2, W/2)` of `(B, C, H, W)`: channel 4c + 2i + j holds pixels (2h + i, 2w + j) of channel c."""
    return functional.pixel_unshuffle(x, 2)


def unsqueeze(x: Tensor) -> Tensor:
    """Undo `squeeze`."""
    return functional.pixel_shuffle(x, 2)


def count_scales(height: int, width: int) -> int:
    """Return how many scales images of so many pixels have: one, and one more for each halving that leaves 4 or more.

    >>> count_scales(28, 28), count_scales(32, 32)
    (3, 4)

    Raises:
        RequestError: fewer than 4 pixels a side.
    """
    if min(height, width) < SMALLEST:
        raise RequestError(
            f"images of {height}x{width} pixels have no scale: {SMALLEST}x{SMALLEST} is the least"
        )
    return (min(height, width) // SMALLEST).bit_length()


class Level(NamedTuple):
    """Shapes at a scale: of its states before and after the squeeze, None where there is none, and of its part of z."""

    before: Shape
    after: Shape | None
    end: Shape


class Scale(nn.Module):
    """One scale: blocks before and, for all scales but the last, blocks after the squeeze."""

    def __init__(self, before: list[CNF], after: list[CNF]) -> None:
        super().__init__()
        self.before, self.after = nn.ModuleList(before), nn.ModuleList(after)


class MultiScale(Flow):
    """A multi-scale flow of images, with base density N(0, I).

    Args:
        shape: (C, H, W) of an image.
        field: number of channels -> a new field of states with so many.
        blocks: before, and as many after, each squeeze.
        scales: how many; 0 for as many as the images allow, 1 for a single scale: blocks and nothing else.
        integration: how each block is integrated; every method takes another one in its place.
        T: end time of each block; where it starts, if learned.
        learn_T: whether the end times are parameters.

    Raises:
        RequestError: images too small, an odd number of pixels a side to squeeze, more scales than there are.
    """

    def __init__(
        self,
        shape: Shape,
        field: Callable[[int], nn.Module],
        blocks: int = 2,
        scales: int = 0,
        integration: Integration = DEFAULT,
        T: float = 1.0,
        learn_T: bool = False,
    ) -> None:
        prior = StandardNormal(math.prod(shape))
        super().__init__(prior)
        levels = layout(shape, scales)

        def several(state: Shape | None) -> list[CNF]:
            return (
                [CNF(field(state[0]), prior, integration, T, learn_T) for _ in range(blocks)] if state else []
            )

        self.scales = nn.ModuleList(Scale(several(level.before), several(level.after)) for level in levels)
        states = [state for level in levels for state in (level.before, level.after) if state]
        self.sizes = [math.prod(state) for state in states for _ in range(blocks)]
        self.ends = [level.end for level in levels]
        for block in self._blocks():
            block.counter = self.counter

    def draw(self, x: Tensor, generator: torch.Generator, integration: Integration) -> Tensor | None:
        """Return probes `(K, B, E)` for one `path` of images x, None where none are needed.

        Those of the blocks lie one after the other in the order of the path, E dimensions in all. They are the probes
        that `path` draws itself, one block after the other, given the same generator and no random end time.
        """
        parts = [integration.divergence.draw(x.new_empty(len(x), size), generator) for size in self.sizes]
        return torch.cat(cast(list[Tensor], parts), 2) if parts[0] is not None else None

    def _carry(self, x: Tensor, request: Request) -> Path:
        """Carry images x `(B, C, H, W)` to z `(B, D)`; probes as `draw` returns, errors as `Flow.path`."""
        delta, integrals = x.new_zeros(len(x)), dict[str, Tensor]()
        probes = iter(
            request.eps.split(self.sizes, 2) if request.eps is not None else [None] * len(self.sizes)
        )

        def carry(block: CNF, x: Tensor) -> Tensor:
            nonlocal delta, integrals
            own = next(probes)
            shaped = None if own is None else own.reshape(-1, *x.shape)
            part = block._carry(x, replace(request, eps=shaped))
            delta = delta + part.delta
            integrals = {name: integrals.get(name, 0) + r for name, r in part.integrals.items()}
            return part.z

        return Path(self._to_base(x, carry), delta, integrals)

    def encode(self, x: Tensor, integration: Integration | None = None) -> Tensor:
        """Return z `(B, D)` of images x `(B, C, H, W)`."""
        return self._to_base(x, lambda block, x: block.encode(x, integration))

    def decode(self, z: Tensor, integration: Integration | None = None) -> Tensor:
        """Return images x `(B, C, H, W)` of base points z `(B, D)`."""
        parts = [
            part.unflatten(1, end)
            for part, end in zip(z.split([math.prod(end) for end in self.ends], 1), self.ends)
        ]
        x = parts.pop()
        for scale in reversed(cast(list[Scale], list(self.scales))):
            if scale.after:
                x = torch.cat((x, parts.pop()), 1)
                for block in reversed(scale.after):
                    x = cast(CNF, block).decode(x, integration)
                x = unsqueeze(x)
            for block in reversed(scale.before):
                x = cast(CNF, block).decode(x, integration)
        return x

    def _to_base(self, x: Tensor, carry: Callable[[CNF, Tensor], Tensor]) -> Tensor:
        """Return z of images x, where `carry` takes a state through one block."""
        parts = []
        for scale in cast(list[Scale], list(self.scales)):
            for block in scale.before:
                x = carry(cast(CNF, block), x)
            if scale.after:
                x = squeeze(x)
                for block in scale.after:
                    x = carry(cast(CNF, block), x)
                x, part = x.chunk(2, 1)
                parts.append(part.flatten(1))
        return torch.cat((*parts, x.flatten(1)), 1)

    def _blocks(self) -> Iterator[CNF]:
        """Yield the blocks in the order of the path."""
        for scale in cast(list[Scale], list(self.scales)):
            yield from cast(list[CNF], [*scale.before, *scale.after])


def layout(shape: Shape, scales: int = 0) -> list[Level]:
    """Return the shapes at each scale; arguments and errors as `MultiScale`."""
    c, h, w = shape
    possible = count_scales(h, w)
    if not 0 <= scales <= possible:
        raise RequestError(f"images of {h}x{w} pixels have 1 to {possible} scales (0 for all), not {scales}")
    levels = []
    for _ in range((scales or possible) - 1):
        if h % 2 or w % 2:
            raise RequestError(
                f"{h}x{w} pixels can not be squeezed by two: choose fewer scales or other images"
            )
        half = 2 * c, h // 2, w // 2
        levels.append(Level((c, h, w), (4 * c, h // 2, w // 2), half))
        c, h, w = half
    return [*levels, Level((c, h, w), None, (c, h, w))]
