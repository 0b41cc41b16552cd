"""What the numbers of images mean: levels 0..255, black 0 and white 255, in both sets that are compared.

A network takes any numbers, so a set on another scale gets a score as exact as it is wrong. `to_uint8` is the one door
from other numbers to levels: the caller declares what is black and what is white, and no value may lie outside.
What is left can be seen in the levels alone, over a set of many images:

| fault                       | seen by                                                             |
|-----------------------------|---------------------------------------------------------------------|
| another scale, one level    | highest less lowest level below 128                                 |
| other steps between levels  | at most 64 distinct levels, the other set has more than twice as many |
| the negative of the other   | its negative's levels are the other set's, its own are not              |

Not seen: a negative of images as bright as dark in the mean, or a set that is duller by less than half.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

Levels = NDArray[np.uint8]

WHITE = 255
COARSE = 64
"""As many distinct levels or fewer are steps of a scale, more are all that there are."""
APART, NEAR = 32.0, 8.0
"""A negative is seen where sorted pixels differ by more levels in the mean than APART, and by fewer than NEAR after it.

Two sets of one kind of images differ by a few levels; a bad model's images seldom match a negative so well.
"""


def to_uint8(images: NDArray[Any] | Tensor, black: float, white: float) -> Tensor:
    """Return images as the levels round(255 (x - black) / (white - black)); the rounding `uint8` of protocols.

    Args:
        images: numbers of any real type and shape.
        black: the number that means black; above `white` for a negative.
        white: the number that means white.

    Raises:
        UserError: complex numbers, black equal to white, a value that is not finite, or one outside the range.
    """
    import torch

    x = torch.as_tensor(images)
    if x.is_complex() or black == white:
        raise UserError(f"levels need real numbers and a range, got {x.dtype} from {black:g} to {white:g}")
    x = x.double()
    if not x.isfinite().all():
        raise UserError("images have values that are not finite: score only draws that did not diverge")
    inside = (min(black, white) <= x) & (x <= max(black, white))
    if not inside.all():
        raise UserError(
            f"images have values from {x.min():g} to {x.max():g}, outside of black {black:g} and white {white:g}: "
            "declare the range that they have, or cut to it the draws of a model that leaves it"
        )
    return (WHITE * ((x - black) / (white - black))).round().to(torch.uint8)


def check_scale(x: Levels, what: str) -> None:
    """Check that a set of images uses the scale 0..255.

    Raises:
        UserError: it is empty, or its levels lie within half the scale.
    """
    if x.size == 0:
        raise UserError(f"the {what} has no pixels, its shape is {x.shape}: give images")
    low, high = int(x.min()), int(x.max())
    if high - low < (WHITE + 1) // 2:
        raise UserError(
            f"the {what} has levels from {low} to {high} only: black is 0 and white 255, so scale it by "
            "to_uint8 with the black and white that it has; if that is done, its images are empty"
        )


def check_alike(x: Levels, y: Levels) -> None:
    """Check that samples and reference have one kind of levels; both have passed `check_scale`.

    Raises:
        UserError: one has coarser steps than the other, such as black and white alone, or is as the other's negative.
    """
    of_x, of_y = (np.bincount(levels.ravel(), minlength=WHITE + 1) for levels in (x, y))
    n, m = np.count_nonzero(of_x), np.count_nonzero(of_y)
    if min(n, m) <= COARSE and max(n, m) > 2 * min(n, m):
        raise UserError(
            f"the samples have {n} distinct levels and the reference {m}: round both to the same levels, or neither"
        )
    plain, negative = _apart(of_x, of_y), _apart(of_x[::-1], of_y)
    if plain > APART and negative < NEAR:
        raise UserError(
            f"the samples look like the reference's negative (mean levels {_mean(of_x):.0f} and {_mean(of_y):.0f}): "
            "let black be 0 and white 255 in both, 255 - x inverts"
        )


def _apart(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return the mean difference of the sorted pixels of two sets, in levels: W_1 of their histograms."""
    return float(np.abs(np.cumsum(first / first.sum()) - np.cumsum(second / second.sum())).sum())


def _mean(histogram: NDArray[Any]) -> float:
    return float(np.arange(WHITE + 1) @ histogram / histogram.sum())
