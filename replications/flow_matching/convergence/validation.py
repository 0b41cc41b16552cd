r"""How near a flow in training is to its data, and when that reaches a goal.

| symbol | code | shape | equation |
|---|---|---|---|
| q, p | `log_density`, `flow` | | law of the data, density of the flow |
| x_n | `ValidationData.x` | `(N, 2)` | fresh points of q, the same at every validation |
| z_n | `ValidationData.base` | `(N, 2)` | points of the base, the same at every validation |
| W_2 | `Values.wasserstein2` | | of the N samples from the z_n, and the x_n |
| Y | `ValidationData.reference` | | mean W_2 of other points of q, N at a time, and the x_n |
| KL | `Values.kl` | | 1/N sum_n log q(x_n) - log p(x_n), in nats, exact trace |

A goal is reached at the first validation whose value and whose successor's are at most the goal: W_2 <= 1.5 Y, or
KL <= 0.1 nats. Both are absolute: no method sets its own goal, and an early plateau is no convergence. Two in a row,
since one may be a fluctuation. The likelihood is what a CNF is trained on, W_2 what no method is.

A validation takes no part in the training: its time is not counted, and it draws from streams of its own.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from replications.flow_matching.points import w2
from replications.flows.density.cnf import CNF
from replications.flows.density.integration import DEFAULT
from replications.tasks.cost import Loss
from replications.tasks.density2d.densities import log_density
from replications.tasks.density2d.evaluation import fresh
from replications.tasks.splits import ValidationSet, to_validate

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.flow_matching.convergence.declaration import ConvergenceConfig


@dataclass(frozen=True)
class ValidationData:
    """What a flow is validated on; see the table.

    Args:
        law: name of q, a set of `bench.data.toy2d` with a known density.
        x: x_n.
        base: z_n.
        reference: Y.
    """

    law: str
    x: ValidationSet
    base: Tensor
    reference: float


def validation_data(run: Run, flow: CNF, config: ConvergenceConfig) -> ValidationData:
    """Return fresh points of the data, points of the flow's base, and what to expect of perfect samples."""
    n, law = config.compared, fresh(run, config.data)
    x = law.validation(n)
    others = [law.validation(n, f"reference/{i}") for i in range(config.reference_sets)]
    draws, points = run.torch_generator("validation base"), to_validate(x)
    base = flow.prior.sample(n, draws, dtype=points.dtype, device=points.device)
    return ValidationData(config.data, x, base, mean_w2([to_validate(other) for other in others], points))


def mean_w2(sets: Sequence[Tensor], data: Tensor) -> float:
    """Return the mean W_2 of several sets of points and as many of the data, `(n, D)` each."""
    return fmean(w2(points, data) for points in sets)


def log_ratio(law: str, x: Tensor, log_p: Tensor) -> Tensor:
    """Return log q(x_n) - log p(x_n) `(N,)` in nats, float64, on the CPU; its mean over points of q estimates KL(q, p).

    Args:
        law: name of q.
        x: points `(N, 2)`.
        log_p: log p(x_n) `(N,)`.
    """
    return torch.from_numpy(log_density(law, x.cpu())) - log_p.double().cpu()


class Values(NamedTuple):
    """W_2 and KL at one validation."""

    wasserstein2: float
    kl: float


@torch.no_grad()
def measure(flow: CNF, data: ValidationData) -> Values:
    """Return W_2 and KL of a flow."""
    x = to_validate(data.x)
    log_p = flow.log_prob(x, integration=DEFAULT)
    return Values(w2(flow.decode(data.base, DEFAULT), x), log_ratio(data.law, x, log_p).mean().item())


def reached(values: Sequence[float], goal: float) -> int | None:
    """Return the first place where a value and its successor are at most the goal, None where there is none.

    A last value that reaches the goal alone does not count: nothing confirms it.
    """
    pairs = itertools.pairwise(values)
    return next((k for k, pair in enumerate(pairs) if max(pair) <= goal), None)


class Progress(NamedTuple):
    """What was found at each validation: after how many iterations, and how many seconds of training."""

    iterations: tuple[int, ...]
    seconds: tuple[float, ...]
    values: tuple[Values, ...]


class Validation:
    """The validations of one training; what they found is kept with the run, for a training that resumes.

    Args:
        run: keeps it.
        schedule: the iterations that have a validation.
        measure: of the weights of now.
    """

    PHASE = "validations"

    def __init__(self, run: Run, schedule: Sequence[int], measure: Callable[[], Values]) -> None:
        self._run, self._schedule, self._measure = run, schedule, measure
        self._done, self._found = 0, {}
        if (kept := run.load_state(self.PHASE)) is not None:
            self._found = {i: Values(*values) for i, *values in json.loads(kept)}

    def following(self, loss: Loss) -> Loss:
        """Return the same loss, by whose calls the validations know how many iterations were done."""

        def followed(i: int) -> Tensor:
            self._done = i + 1
            return loss(i)

        return followed

    def __call__(self) -> float:
        """Measure, where the schedule has this iteration; return KL, or infinity."""
        if self._done not in self._schedule:
            return math.inf
        self._found[self._done] = self._measure()
        rows = [(i, *values) for i, values in sorted(self._found.items())]
        self._run.save_state(self.PHASE, json.dumps(rows).encode())
        return self._found[self._done].kl

    def progress(self, seconds: Sequence[float]) -> Progress:
        """Return what was found.

        Args:
            seconds: time of each iteration of the training.
        """
        done = tuple(i for i in self._schedule if i in self._found)
        clock = np.cumsum(seconds)
        return Progress(done, tuple(float(clock[i - 1]) for i in done), tuple(self._found[i] for i in done))
