"""The suite's tasks: points to train on, to choose settings by, to test on, and the true density where it is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data import images, tabular, toy2d
from bench.errors import UserError
from replications.suite.config import Trained
from replications.tasks.density2d import densities
from replications.tasks.mixtures.law import Mixture, mixture
from replications.tasks.splits import (
    Draw,
    Fresh,
    TestSet,
    TrainBatches,
    TrainSet,
    ValidationSet,
    at_random,
    first,
)

if TYPE_CHECKING:
    from bench.execution.run import Run

Array = NDArray[np.float64]

MIXTURES = {"mixture2": 2, "mixture8": 8, "mixture32": 32}
"""D of each mixture."""
DIGITS, LEVELS = "digits", 17
"""Name of scikit-learn's digits, and how many levels a pixel has."""


@dataclass(frozen=True)
class Task:
    """What a method of the suite is trained and tested on.

    Args:
        dim: D.
        batch: iteration -> points to train on `(B, D)`.
        pool: points that a yardstick is fitted to.
        validation: points by which settings are chosen.
        test: (n, stream) -> points of the test, those of one stream the same each time.
        log_density: log q(x) `(N,)` in nats of points `(N, D)`; None where it is not known.
        mixture: the law, where it is a Gaussian mixture, whose fields are known too.
        log_volume: of data with levels, log dx/dv summed over dimensions, v the level with its noise: the NLL of levels
            is less by so much.
    """

    dim: int
    batch: Callable[[int], Tensor]
    pool: TrainSet
    validation: ValidationSet
    test: Callable[[int, str], TestSet]
    log_density: Callable[[Array], Array] | None = None
    mixture: Mixture | None = None
    log_volume: float | None = None


def task(run: Run, config: Trained) -> Task:
    """Return the task that a config names.

    Raises:
        UserError: there is none.
    """
    name = config.data
    if name in toy2d.SETS:
        known = partial(densities.log_density, name) if name in densities.DENSITIES else None
        return endless(run, config, partial(toy2d.draw, name), 2, known)
    if name in MIXTURES:
        law = mixture(MIXTURES[name])
        found = endless(run, config, law.draw, law.dim, law.log_density)
        return replace(found, mixture=law)
    if name in tabular.names():
        return of_rows(run, config, tabular.load(name))
    if name == DIGITS:
        return digits(run, config)
    raise UserError(f"no task of the suite is called {name!r}")


def endless(
    run: Run, config: Trained, draw: Draw, dim: int, log_density: Callable[[Array], Array] | None
) -> Task:
    """Return the task of a law from which fresh points are drawn."""
    law = Fresh(run, draw, run.device, torch.float32)
    return Task(
        dim,
        lambda i: law.batch(i, config.batch).points,
        law.pool(config.pool),
        law.validation(config.validation_points),
        law.test,
        log_density,
    )


def of_rows(run: Run, config: Trained, rows: tabular.TabularSet) -> Task:
    """Return the task of a table: its training rows in epochs, its test rows in an order of each stream."""

    def tensor(part: Array) -> Tensor:
        return torch.tensor(part, dtype=torch.float32, device=run.device)

    train, test = TrainSet(tensor(rows.train)), TestSet(tensor(rows.test))
    return Task(
        rows.d,
        TrainBatches(run, train, config.batch),
        at_random(train, min(config.pool, len(train)), run.torch_generator("pool")),
        first(ValidationSet(tensor(rows.validation)), config.validation_points),
        partial(_in_order, run, test),
    )


def _in_order(run: Run, test: TestSet, n: int, stream: str) -> TestSet:
    """Return n points of a test set in the order of a stream.

    Raises:
        UserError: it has not so many.
    """
    if n > len(test):
        raise UserError(f"the test set has {len(test)} points, {n} are asked for")
    return at_random(test, n, run.torch_generator(stream)) if n < len(test) else test


def digits(run: Run, config: Trained) -> Task:
    """Return the task of scikit-learn's digits, 64 levels 0..16 with uniform noise, x = 4 (v / 17 - 1/2).

    The noise of training batches is fresh, that of validation and test is of their streams. A tenth of the training
    images, at random but the same for all seeds, is for validation.
    """
    levels = {split: images.load(DIGITS, split).images.flatten(1).float() for split in ("train", "test")}
    order = torch.randperm(len(levels["train"]), generator=torch.Generator().manual_seed(0))
    tenth = len(order) // 10

    def noisy(part: Tensor, stream: str) -> Tensor:
        noise = torch.rand(part.shape, generator=run.torch_generator(stream))
        return (4 * ((part + noise) / LEVELS - 0.5)).to(run.device)

    train, kept = levels["train"][order[tenth:]], levels["train"][order[:tenth]]
    index = TrainBatches(run, TrainSet(train), config.batch)

    def tested(n: int, stream: str) -> TestSet:
        return _in_order(run, TestSet(noisy(levels["test"], f"{stream} noise")), n, stream)

    return Task(
        train.shape[1],
        lambda i: noisy(index(i), f"batch noise/{i}"),
        TrainSet(noisy(train, "pool")),
        ValidationSet(noisy(kept, "validation")),
        tested,
        log_volume=train.shape[1] * math.log(4 / LEVELS),
    )
