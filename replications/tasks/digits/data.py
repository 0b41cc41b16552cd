r"""The 8 x 8 digits of scikit-learn as points in 64 dimensions, and their likelihood in bits.

| symbol | code | shape | equation |
|---|---|---|---|
| v | `split` | `(N, 64)` | levels 0 to 16, L = 17 of them, row by row |
| x | `dequantised` | `(N, 64)` | (v + u) / L, u ~ U(0, 1): in the unit cube |
| y | `to_model` | `(N, 64)` | logit(alpha + (1 - 2 alpha) x), alpha = 0.01 |
| bits/dim | `bits_per_dim` | `(N,)` | -(log p(x) / D - log L) / log 2, log p(x) = log p(y) + log det dy/dx |

| part | digits | which |
|---|---|---|
| test | 355 | every fifth of each class, as `bench.data.images` has it |
| validation | 285 | every fifth of each class of the others |
| train | 1157 | the rest |

A method sees y, which lies between -4.6 and 4.6. The mean of its bits over u is an upper bound of those of the levels,
see `replications.flows.density.images`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.images import load
from replications.flows.density import images
from replications.tasks.splits import Kind, Split, TestSet, TrainSet, ValidationSet, mapped

LEVELS = 17
"""L."""
DIM = 64
"""D."""
ALPHA = 0.01
"""Of the logit."""

_LOGIT = images.Logit(ALPHA)


def split() -> Split:
    """Return the levels v `(N, 64)`, uint8, with their labels, in three parts that are always the same."""
    train, test = load("digits", "train"), load("digits", "test")
    levels, labels = train.images.flatten(1), train.labels
    held_out = _rank(labels) % 5 == 4
    return Split(
        TrainSet(levels[~held_out], labels[~held_out]),
        ValidationSet(levels[held_out], labels[held_out]),
        TestSet(test.images.flatten(1), test.labels),
    )


def _rank(labels: Tensor) -> Tensor:
    """Return of each label how many equal ones are before it, `(N,)`."""
    equal = labels[:, None] == labels
    return equal.tril(-1).sum(1)


def dequantised(v: Tensor, generator: torch.Generator) -> Tensor:
    """Return x = (v + u) / 17 `(N, 64)` in float32, between 0 and 1.

    Raises:
        RequestError: a value that is no level.
    """
    return images.dequantise(v, LEVELS, generator)


def for_model(part: Kind, generator: torch.Generator) -> Kind:
    """Return a part of `split` as points y `(N, 64)` with fresh noise; labels as they were."""
    return mapped(part, lambda v: to_model(dequantised(v, generator)))


def to_model(x: Tensor) -> Tensor:
    """Return y of x in the unit cube, `(N, 64)`."""
    return _LOGIT(x)[0]


def to_levels(y: Tensor) -> Tensor:
    """Return the levels v `(N, 64)` in float of any y: the cell that x is in, or the nearest one."""
    return (_LOGIT.inverse(y) * LEVELS).floor().clamp(0, LEVELS - 1)


def bits_per_dim(log_prob: Tensor, y: Tensor) -> Tensor:
    """Return bits/dim `(N,)` of the levels, from log p(y) `(N,)` in nats at y `(N, 64)`."""
    log_det = _LOGIT(_LOGIT.inverse(y.double()))[1]
    return images.bits_per_dim(log_prob.double() + log_det.to(log_prob.device), DIM, LEVELS)
