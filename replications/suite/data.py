"""The suite's tasks: points to train on, to choose settings by, to test on, and the true density where it is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data import tabular, toy2d
from bench.errors import UserError
from replications.suite.config import Trained
from replications.tasks.density2d import densities
from replications.tasks.digits import data as digit_levels
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
DIGITS = "digits"
"""Name of scikit-learn's digits."""


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
        finite: whether the pool is all there is to train on.
        mixture: the law, where it is a Gaussian mixture, whose fields are known too.
        bits_per_dim: of data with levels, (log p `(N,)`, points `(N, D)`) -> bits a dimension of the levels `(N,)`.
    """

    dim: int
    batch: Callable[[int], Tensor]
    pool: TrainSet
    validation: ValidationSet
    test: Callable[[int, str], TestSet]
    log_density: Callable[[Array], Array] | None = None
    finite: bool = False
    mixture: Mixture | None = None
    bits_per_dim: Callable[[Tensor, Tensor], Tensor] | None = None


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
        finite=True,
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
    """Return the task of scikit-learn's digits; batches have fresh noise, validation and test that of a stream."""
    parts = digit_levels.split()
    index = TrainBatches(run, parts.train, config.batch)

    def noise(stream: str) -> torch.Generator:
        return run.torch_generator(f"{stream} noise")

    def batch(i: int) -> Tensor:
        return digit_levels.for_model(TrainSet(index(i)), noise(f"batch/{i}")).points.to(run.device)

    return Task(
        digit_levels.DIM,
        batch,
        digit_levels.for_model(parts.train, noise("pool")),
        digit_levels.for_model(parts.validation, noise("validation")),
        lambda n, stream: _in_order(run, digit_levels.for_model(parts.test, noise(stream)), n, stream),
        finite=True,
        bits_per_dim=digit_levels.bits_per_dim,
    )
