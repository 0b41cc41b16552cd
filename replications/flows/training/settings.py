"""How to train: optimizer, schedule, clipping, average, validation, early stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from replications.flows.errors import RequestError

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
SCHEDULES = ("constant", "cosine", "polynomial", "step", "plateau", "drops")
KEEPS = (None, "last", "best")
NOT_NEGATIVE = (
    *("lr", "momentum", "weight_decay", "gamma", "plateau", "drops", "warmup", "clip_norm", "ema_decay"),
    *("validate_every", "patience", "evaluations", "checkpoint_seconds"),
)


@dataclass(frozen=True)
class Training:
    """How to train.

    Args:
        iterations: number of optimizer steps, at most.
        evaluations: of the field, forward and backward, after which the training ends where they are counted; 0 for no
            such end.
        lr: highest learning rate.
        optimizer: `adam`, `adamw`, `sgd` or `rmsprop`.
        momentum: of `sgd` and `rmsprop`.
        weight_decay: decoupled for `adamw`, added to the gradient otherwise.
        fused: make the whole step of `adam` or `adamw` in one kernel, the same but for rounding.
        schedule: `constant`, `cosine` (to zero at the end), `polynomial` (of degree one: a straight line from the end
            of the warm-up to zero at the end), `step`, `plateau` or `drops`.
        milestones: iterations from which `step` multiplies the rate by `gamma`, once each.
        gamma: see `milestones`, `plateau` and `drops`.
        plateau: `plateau` multiplies the rate by `gamma` for good where more than so many validations in a row brought
            no new lowest value, again after more than twice as many, and so on: as FFJORD's code, and unlike torch's
            scheduler, which starts to count anew.
        drops: `drops` does so after each such row, counted anew after it, as `ReduceLROnPlateau`; after so many, the
            next ends the training.
        warmup: iterations of linear rise from lr / warmup.
        clip_norm: largest Euclidean norm of the whole gradient; 0 leaves it as it is.
        ema_decay: d of the averaged weights e <- d e + (1 - d) w; they are validated and kept. 0: no average.
        validate_every: iterations between validations, the last iteration always has one; 0: that one only.
        patience: stop after so many validations without a new lowest value; 0: never stop early.
        keep: `last` weights or the `best` validated ones; None for the best where `patience` or `drops` ends the
            training, else the last.
        checkpoint_seconds: least time between two checkpoints.

    Raises:
        RequestError: an unknown name, a number out of range, a plateau without a length.
    """

    iterations: int
    lr: float
    optimizer: str = "adam"
    momentum: float = 0.0
    weight_decay: float = 0.0
    fused: bool = False
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    plateau: int = 0
    drops: int = 0
    warmup: int = 0
    clip_norm: float = 0.0
    ema_decay: float = 0.0
    validate_every: int = 0
    patience: int = 0
    keep: str | None = None
    evaluations: int = 0
    checkpoint_seconds: float = 20.0

    def __post_init__(self) -> None:
        for name, allowed in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("keep", KEEPS)):
            if (value := getattr(self, name)) not in allowed:
                raise RequestError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}")
        for name in NOT_NEGATIVE:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise RequestError(f"{name} must be a finite number and not negative, got {value:g}")
        if self.iterations < 1:
            raise RequestError(f"iterations must be at least 1, got {self.iterations}")
        if not self.ema_decay < 1:
            raise RequestError(f"ema_decay must be below 1, got {self.ema_decay:g}")
        if self.fused and not self.optimizer.startswith("adam"):
            raise RequestError(f"{self.optimizer} has no fused step; leave out fused=True")
        if self.schedule == "plateau" and self.plateau < 1:
            raise RequestError("schedule='plateau' needs plateau=..., its length in validations")
        if any(milestone < 0 for milestone in self.milestones):
            raise RequestError(f"milestones are iterations from 0, got {self.milestones}")

    @property
    def keeps_best(self) -> bool:
        """Whether the best validated weights are kept, rather than the last."""
        return self.keep == "best" or (self.keep is None and bool(self.patience or self.drops))

    def lr_at(self, iteration: int, stalest: int = 0, dropped: int = 0) -> float:
        """Return the rate of an iteration, counted from 0.

        Args:
            iteration: from 0.
            stalest: longest plateau so far, in validations.
            dropped: number of plateaus so far, each counted anew.
        """
        rise = min(1.0, (iteration + 1) / self.warmup) if self.warmup else 1.0
        passed = sum(iteration >= milestone for milestone in self.milestones)
        factors = {
            "constant": 1.0,
            "cosine": 0.5 * (1 + math.cos(math.pi * iteration / self.iterations)),
            "polynomial": 1 - max(0, iteration - self.warmup) / max(1, self.iterations - self.warmup),
            "step": self.gamma**passed,
            "plateau": self.gamma ** (max(0, stalest - 1) // self.plateau) if self.plateau else 1.0,
            "drops": self.gamma**dropped,
        }
        return self.lr * rise * factors[self.schedule]

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of a model's parameters."""
        parameters: Iterator[nn.Parameter] = model.parameters()
        shared: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        builders: dict[str, Callable[[], torch.optim.Optimizer]] = {
            "adam": lambda: torch.optim.Adam(parameters, **shared, fused=self.fused or None),
            "adamw": lambda: torch.optim.AdamW(parameters, **shared, fused=self.fused or None),
            "sgd": lambda: torch.optim.SGD(parameters, momentum=self.momentum, **shared),
            "rmsprop": lambda: torch.optim.RMSprop(parameters, momentum=self.momentum, **shared),
        }
        return builders[self.optimizer]()
