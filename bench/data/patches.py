"""Patches of photographs as rows of a table, by the recipe of the papers that learn their density.

| step | |
|---|---|
| patch | 8 x 8 grey levels of 0 to 255, an image and a place in it uniform at random |
| dequantised | + U(0, 1) a pixel, all / 256: between 0 and 1 |
| centred | less the patch's mean |
| row | all pixels but the last: with the mean they would add up to 0 |

The recipe is that of RNADE's experiments (uria2013rnade; recalled, not checked against the text), which masked
autoregressive flows and the papers after them take over. Patches to train on come from 180 of the 200 images for
training, patches to validate from the other 20, patches to test from the 100 images for testing. Which images, places
and noises they drew is not known: rows made here are at best statistically equivalent to the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Grey = NDArray[Any]

SIDE = 8
HELD_OUT = 20
"""Images for training of which the validation's patches are."""
SEED = 300
"""Of numpy's old generator, whose streams are frozen."""
SIZES = (50_000, 5_000, 10_000)
"""Patches to train, validate and test on."""


def split_patches(
    images: Mapping[str, Grey],
    rng: RandomState,
    sizes: tuple[int, int, int] = SIZES,
    held_out: int = HELD_OUT,
) -> tuple[Rows, Rows, Rows]:
    """Return rows `(N, 63)` to train, validate and test on.

    The draws, in this order: which images the validation has, then the patches of each part, see `draw_patches`.

    Args:
        images: grey levels `(H, W)` by `train/<name>` or `test/<name>`.
        rng: draws.
        sizes: N of the parts.
        held_out: images for training of which the validation's patches are.

    Raises:
        ValueError: there are no more images for training than that, or none for testing.
    """
    parts = [
        [images[name] for name in sorted(images) if name.startswith(part)] for part in ("train/", "test/")
    ]
    training, testing = parts
    if len(training) <= held_out or not testing:
        raise ValueError(f"it has {len(training)} images for training and {len(testing)} for testing")
    order = rng.permutation(len(training))
    validation = [training[place] for place in order[:held_out]]
    rest = [training[place] for place in order[held_out:]]
    train, validated, test = (
        draw_patches(part, n, rng) for part, n in zip((rest, validation, testing), sizes, strict=True)
    )
    return train, validated, test


def draw_patches(images: Sequence[Grey], n: int, rng: RandomState) -> Rows:
    """Return n rows `(n, 63)`; the draws, in this order: images, places from above, from the left, noise."""
    of_image = rng.randint(len(images), size=n)
    heights, widths = np.array([image.shape for image in images]).T
    above, left = (
        np.floor(rng.random_sample(n) * (sizes[of_image] - SIDE + 1)).astype(np.intp)
        for sizes in (heights, widths)
    )
    levels = np.empty((n, SIDE, SIDE))
    for place, (image, i, j) in enumerate(zip(of_image, above, left, strict=True)):
        levels[place] = images[image][i : i + SIDE, j : j + SIDE]
    return rows_of(levels.reshape(n, -1), rng.random_sample((n, SIDE * SIDE)))


def rows_of(levels: Rows, noise: Rows) -> Rows:
    """Return dequantised, centred patches without their last pixel, `(N, 63)`, of grey levels `(N, 64)`."""
    shade = (levels + noise) / 256
    centred: Rows = shade - shade.mean(axis=1, keepdims=True)
    return centred[:, :-1]
