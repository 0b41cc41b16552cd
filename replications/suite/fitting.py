"""Fit a method of the suite to a user's own table, keep it, draw from it, score rows by it.

| step | what |
|---|---|
| rows | 80 % for training, 10 % to stop by, 10 % held out |
| scale | columns are standardised by the training rows; likelihoods and samples are in the original units |
| end | the budget, or ten validations without a new lowest NLL; the best validated weights are kept |
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import torch_files
from bench.errors import UserError
from replications.suite.measured import scores
from replications.suite.methods import Model, build
from replications.suite.settings import METHODS
from replications.suite.table import LEAST, Rows, Scale, Table, refuse_unfit, scale_of, split
from replications.suite.training import as_module, step

BATCH, WIDTH = 256, 64
PATIENCE = 10
VALIDATIONS = 30
"""How often a fit is validated within its budget."""
KEYS = {"method", "names", "width", "strength", "mean", "std", "state"}


@dataclass(frozen=True)
class Fitted:
    """A trained method in the units of its table.

    Args:
        method: its name.
        names: of the columns.
        strength: of what the method adds.
        scale: of the columns.
        model: of standardised rows.
    """

    method: str
    names: tuple[str, ...]
    strength: float
    scale: Scale
    model: Model

    def log_prob(self, rows: Rows) -> Rows:
        """Return log p `(N,)` in nats of rows `(N, D)` in the table's units."""
        x = torch.tensor(self.scale.standardised(rows), dtype=torch.float32)
        found: Rows = scores(self.model, x, None).log_p.numpy() - self.scale.log_volume
        return found

    def sample(self, n: int, seed: int) -> Rows:
        """Return n rows `(n, D)` in the table's units."""
        drawn = self.model.sample(n, torch.Generator().manual_seed(seed))
        return self.scale.original(drawn.double().numpy())

    def packed(self) -> bytes:
        """Return the file of the model."""
        buffer = io.BytesIO()
        content = {
            "method": self.method, "names": list(self.names), "width": WIDTH, "strength": self.strength,
            "mean": torch.tensor(self.scale.mean), "std": torch.tensor(self.scale.std),
            "state": as_module(self.model).state_dict(),
        }  # fmt: skip
        torch.save(content, buffer)
        return buffer.getvalue()


def load(path: Path) -> Fitted:
    """Return what `cnf-bench fit` kept.

    Raises:
        UserError: it can not be read, or is another file.
    """
    saved = torch_files.load(path)
    try:
        return _rebuilt(saved)
    except Exception as error:  # a damaged file can fail in any way
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} is no model that `cnf-bench fit` wrote: {reason}; fit it again") from error


def _rebuilt(saved: Any) -> Fitted:
    if not isinstance(saved, Mapping) or set(saved) != KEYS:
        raise UserError("it holds other things")
    names, width, strength = tuple(saved["names"]), saved["width"], saved["strength"]
    if width != WIDTH or not all(isinstance(name, str) for name in names) or not isinstance(strength, float):
        raise UserError("its settings are none")
    scale = Scale(saved["mean"].double().numpy(), saved["std"].double().numpy())
    if not len(names) == len(scale.mean) == len(scale.std) <= 10_000:
        raise UserError("it has not one scale for each column")
    model = build(saved["method"], len(names), width, strength, torch.Generator())
    as_module(model).load_state_dict(saved["state"])
    return Fitted(saved["method"], names, strength, scale, model)


@dataclass(frozen=True)
class Outcome:
    """A fit: the method, which rows were held out, NLL of the rows by part in the table's units, iterations."""

    fitted: Fitted
    held_out: Any
    validations: list[tuple[int, float]]
    iterations: int


def fit(
    table: Table,
    method: str,
    seconds: float,
    learning_rate: float | None = None,
    seed: int = 0,
    iterations: int = 0,
    clock: Callable[[], float] = time.process_time,
    tell: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Return a method fitted to a table.

    Args:
        table: at least `LEAST` rows.
        method: of the suite.
        seconds: of processor time for training.
        learning_rate: of Adam; by default the first of the method's settings, as its strength.
        seed: of the split, the start and all draws.
        iterations: in place of the seconds, for a fit that repeats exactly.
        clock: reads the processor time.
        tell: hears of each validation.

    Raises:
        UserError: no such method, too few rows, or what no density can be fitted to.
        SolveFailure: `diverged`, where the loss is not finite.
    """
    if method not in METHODS:
        raise UserError(f"no method is called {method!r}: choose one of {', '.join(METHODS)}")
    if len(table.rows) < LEAST:
        raise UserError(f"the table has {len(table.rows)} rows; at least {LEAST} are needed")
    refuse_unfit(table)
    train, validation, held_out = split(len(table.rows), np.random.default_rng(seed))
    scale = scale_of(table.rows[train])
    if (scale.std == 0).any():
        raise UserError("a column has one value only among the training rows; leave it out or give more rows")
    x, x_validation = (
        torch.tensor(scale.standardised(table.rows[part]), dtype=torch.float32)
        for part in (train, validation)
    )
    setting = METHODS[method][1]
    model = build(method, len(table.names), WIDTH, setting.strength, torch.Generator().manual_seed(seed))
    budget = Budget(seconds, iterations, clock)
    found = _trained(
        model, x, x_validation, learning_rate or setting.learning_rate, seed, budget, tell, scale
    )
    return Outcome(Fitted(method, table.names, setting.strength, scale, model), held_out, *found)


@dataclass
class Budget:
    """What a fit may spend: seconds of processor time, or iterations where there are any."""

    seconds: float
    iterations: int
    clock: Callable[[], float]
    spent: float = 0.0

    def share(self, done: int) -> float:
        """Return how much of it is gone, 1 for all."""
        return done / self.iterations if self.iterations else self.spent / self.seconds


def _trained(
    model: Model, x: Tensor, validation: Tensor, rate: float, seed: int, budget: Budget,
    tell: Callable[[str], None], scale: Scale,
) -> tuple[list[tuple[int, float]], int]:  # fmt: skip
    """Train in place, keep the best validated weights; return the validations and the iterations."""
    module = as_module(model)
    optimizer = torch.optim.Adam(module.parameters(), rate)
    rows, draws = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)
    best: dict[str, Tensor] = {}
    validations: list[tuple[int, float]] = []
    done, due, stale = 0, 1 / VALIDATIONS, 0
    while budget.share(done) < 1 and stale < PATIENCE:
        batch = x[torch.randint(len(x), (min(BATCH, len(x)),), generator=rows)]
        start = budget.clock()
        step(model, optimizer, batch, draws)
        budget.spent += budget.clock() - start
        done += 1
        if budget.share(done) >= min(due, 1.0):
            due = budget.share(done) + 1 / VALIDATIONS
            nll = -scores(model, validation, None).log_p.mean().item()
            lowest = all(nll < before for _, before in validations)
            stale = 0 if lowest else stale + 1
            if lowest:
                best = {name: value.detach().clone() for name, value in module.state_dict().items()}
            validations.append((done, nll))
            tell(f"iteration {done}: validation NLL {nll + scale.log_volume:.4f} nats")
    module.load_state_dict(best)
    return validations, done
