"""The suite's tasks: points to train on, to choose settings by, to test on, and the true density where it is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data import toy2d
from bench.errors import UserError
from replications.suite.config import Trained
from replications.tasks.density2d import densities
from replications.tasks.splits import Draw, Fresh, TestSet, TrainSet, ValidationSet

if TYPE_CHECKING:
    from bench.execution.run import Run

Array = NDArray[np.float64]


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
    """

    dim: int
    batch: Callable[[int], Tensor]
    pool: TrainSet
    validation: ValidationSet
    test: Callable[[int, str], TestSet]
    log_density: Callable[[Array], Array] | None = None


def task(run: Run, config: Trained) -> Task:
    """Return the task that a config names.

    Raises:
        UserError: there is none.
    """
    if config.data in toy2d.SETS:
        known = config.data in densities.DENSITIES
        density = (lambda x: densities.log_density(config.data, x)) if known else None
        return endless(run, config, lambda n, rng: toy2d.draw(config.data, n, rng), 2, density)
    raise UserError(f"no task of the suite is called {config.data!r}")


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
