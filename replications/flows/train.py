"""The training loop: schedule, clipping, EMA, validation, early stop, checkpoint, exact resume."""

from __future__ import annotations

import dataclasses
import io
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.images import minibatches
from bench.errors import RunFailure
from bench.measure.clock import synchronize
from bench.measure.nfe import CountedField
from bench.record import write_atomically
from bench.worker import Run

CURVE_POINTS = 300


@dataclass(frozen=True)
class Training:
    """How to train.

    Args:
        iterations: number of optimizer steps.
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
            no new lowest value, again after more than twice as many, and so on.
        drops: `drops` does so after each such row, counted anew after it; after so many, the next ends the training,
            and the best weights are kept.
        warmup: iterations of linear rise from lr / warmup.
        clip_norm: largest Euclidean norm of the whole gradient; 0 leaves it as it is.
        ema_decay: d of the averaged weights e <- d e + (1 - d) w; they are validated and kept. 0: no average.
        validate_every: iterations between validations, the last iteration always has one; 0: that one only.
        patience: stop after so many validations without a new lowest value, and keep the best weights;
            0: never stop early and keep the last weights.
        checkpoint_seconds: least time between two checkpoints.
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
    checkpoint_seconds: float = 20.0

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


@dataclass
class Log:
    """What happened in training: one entry an iteration, but for `validations`: (iterations done, value)."""

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    nfe_forward: list[int] = field(default_factory=list)
    nfe_backward: list[int] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)

    @property
    def iteration_time(self) -> float:
        """Median wall time of an iteration (loss, gradient, step), in seconds."""
        return statistics.median(self.seconds)

    @property
    def train_time(self) -> float:
        """Sum of the iterations' wall times, in seconds; without validations and checkpoints."""
        return sum(self.seconds)

    @property
    def stale(self) -> int:
        """Number of validations since the lowest value."""
        return self._plateaus[-1] if self.validations else 0

    @property
    def stalest(self) -> int:
        """The largest number of validations in a row that brought no new lowest value."""
        return max(self._plateaus, default=0)

    def dropped(self, plateau: int) -> int:
        """Return how often more than `plateau` validations brought no new lowest value, counted anew after each."""
        best, since, drops = math.inf, 0, 0
        for _, value in self.validations:
            since = 0 if value < best else since + 1
            best = min(best, value)
            if since > plateau:
                since, drops = 0, drops + 1
        return drops

    @property
    def _plateaus(self) -> list[int]:
        """After each validation, the number since the lowest value."""
        best, since, found = math.inf, 0, []
        for _, value in self.validations:
            since = 0 if value < best else since + 1
            best = min(best, value)
            found.append(since)
        return found

    def record(self, run: Run) -> None:
        """Record the curves loss, validation, nfe_forward and nfe_backward against the iteration.

        A long series is shortened to means over equal blocks of iterations; see `blocks`.
        """
        for name in ("losses", "nfe_forward", "nfe_backward"):
            values = getattr(self, name)
            if values:
                key = "loss" if name == "losses" else name
                x, y = blocks(values)
                run.curve(key, x, y, x_label="iteration", y_label=key.replace("_", " "))
        if self.validations:
            done, values = zip(*self.validations)
            run.curve("validation", done, values, x_label="iteration", y_label="validation")


def blocks(values: Sequence[float], points: int = CURVE_POINTS) -> tuple[list[int], list[float]]:
    """Return the last index (from 1) and the mean of each of at most `points` equal blocks of a series."""
    size = math.ceil(len(values) / points)
    parts = [values[start : start + size] for start in range(0, len(values), size)]
    ends = [min(size * (i + 1), len(values)) for i in range(len(parts))]
    return ends, [statistics.fmean(part) for part in parts]


class Batches:
    """Minibatch indices as a function of the iteration: epoch k is the permutation of the stream `epoch/<k>`.

    Args:
        run: gives the streams.
        n: number of training points.
        batch: points a minibatch; an epoch's last may have fewer.
    """

    def __init__(self, run: Run, n: int, batch: int) -> None:
        self.run, self.n, self.batch = run, n, batch
        self.per_epoch = math.ceil(n / batch)
        self._epoch = -1

    def __call__(self, iteration: int) -> Tensor:
        """Return the indices `(batch,)` of an iteration, counted from 0."""
        epoch, position = divmod(iteration, self.per_epoch)
        if epoch != self._epoch:
            generator = self.run.torch_generator(f"epoch/{epoch}")
            self._epoch, self._batches = epoch, list(minibatches(self.n, self.batch, generator))
        return self._batches[position]


def train(
    run: Run,
    model: nn.Module,
    loss: Callable[[int], Tensor],
    settings: Training,
    validate: Callable[[], float] | None = None,
    on_iteration: Callable[[int], None] | None = None,
    counted: CountedField | None = None,
    phase: str = "train",
) -> Log:
    """Train a model in place, from the run's checkpoint where there is one, and return the log.

    Args:
        run: gives the checkpoint's place, hears of the progress.
        model: on its device, parameters initialised.
        loss: iteration (from 0) -> scalar loss, or one without graph that has set the gradients itself; a pure
            function of iteration and parameters, which draws from streams such as `run.torch_generator(f"batch/{i}")`
            only, so that a resume is bit-identical.
        settings: how to train.
        validate: value to be low, of the weights that would be kept now.
        on_iteration: called with the iteration after each step.
        counted: field whose evaluations are logged, one entry an iteration.
        phase: tells trainings of one run apart.

    Raises:
        RunFailure: `diverged`, where the loss is not finite.
    """
    trainer = _Trainer(run, model, settings, phase)
    trainer.resume()
    while not trainer.finished:
        i = len(trainer.log.losses)
        trainer.step(i, loss, counted)
        every = settings.validate_every
        if validate and (i + 1 == settings.iterations or (every and (i + 1) % every == 0)):
            trainer.validate(validate)
        if on_iteration:
            on_iteration(i)
        trainer.save_if_due()
        run.progress(i + 1, settings.iterations, f"loss {trainer.log.losses[-1]:.4g}")
    if trainer.path.is_file():
        trainer.save()  # so that a later training of the same run finds this one finished
    trainer.keep_weights()
    return trainer.log


class _Trainer:
    """The state of a training: weights, optimizer, average, best weights, log."""

    def __init__(self, run: Run, model: nn.Module, settings: Training, phase: str) -> None:
        self.run, self.model, self.settings, self.phase = run, model, settings, phase
        self.optimizer = settings.build_optimizer(model)
        self.ema = [p.detach().clone() for p in model.parameters()] if settings.ema_decay else []
        self.best: dict[str, Tensor] | None = None
        self.log, self.stalest, self.dropped = Log(), 0, 0
        self.saved_at = time.monotonic()

    @property
    def finished(self) -> bool:
        settings = self.settings
        ended = len(self.log.losses) >= settings.iterations or 0 < settings.patience <= self.log.stale
        return ended or 0 < settings.drops < self.dropped

    def step(self, i: int, loss: Callable[[int], Tensor], counted: CountedField | None) -> None:
        start = time.perf_counter()
        if counted is not None:
            counted.reset()
        rate = self.settings.lr_at(i, self.stalest, self.dropped)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        value = loss(i)
        number = value.item()
        if not math.isfinite(number):
            raise RunFailure("diverged", f"loss is {number} at iteration {i}")
        if value.requires_grad:
            value.backward()
        if self.settings.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        for average, weight in zip(self.ema, self.model.parameters(), strict=False):
            average.lerp_(weight.detach(), 1 - self.settings.ema_decay)
        synchronize(self.run.device)
        self.log.seconds.append(time.perf_counter() - start)
        self.log.losses.append(number)
        if counted is not None:
            self.log.nfe_forward.append(counted.forward_evaluations)
            self.log.nfe_backward.append(counted.backward_evaluations)

    def validate(self, validate: Callable[[], float]) -> None:
        with self.averaged():
            self.log.validations.append((len(self.log.losses), validate()))
            self._count_plateaus()
            if (self.settings.patience or self.settings.drops) and self.log.stale == 0:
                self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def _count_plateaus(self) -> None:
        self.stalest, self.dropped = self.log.stalest, self.log.dropped(self.settings.plateau)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averaged weights, where there are any, in place of the model's."""
        kept = [p.detach().clone() for p in self.model.parameters()] if self.ema else []
        self.set_weights(self.ema)
        yield
        self.set_weights(kept)

    @torch.no_grad()
    def set_weights(self, weights: list[Tensor]) -> None:
        for parameter, weight in zip(self.model.parameters(), weights, strict=False):
            parameter.copy_(weight)

    def keep_weights(self) -> None:
        if self.best is not None:
            self.model.load_state_dict(self.best)
        else:
            self.set_weights(self.ema)

    # -- checkpoints ----------------------------------------------------------------------------------------

    @property
    def signature(self) -> list[Any]:
        """What a checkpoint must have been written for."""
        return [self.run.identity.id, self.phase, dataclasses.asdict(self.settings)]

    @property
    def path(self) -> Path:
        return self.run.checkpoint(self.phase)

    def save_if_due(self) -> None:
        if time.monotonic() - self.saved_at >= self.settings.checkpoint_seconds:
            self.save()

    def save(self) -> None:
        state = {
            "signature": self.signature,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema,
            "best": self.best,
            "log": dataclasses.asdict(self.log),
            "resumed": self.run.resumed,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.path, buffer.getvalue())
        self.saved_at = time.monotonic()

    def resume(self) -> None:
        """Take over the state of the run's checkpoint, where there is a whole one of this very training."""
        if not self.path.is_file():
            return
        try:
            state = torch.load(self.path, map_location=self.run.device, weights_only=True)
            matches = state["signature"] == self.signature
        except (
            Exception
        ) as error:  # a damaged file can fail in any way, and costs no more than the time to redo
            print(
                f"checkpoint {self.path} is damaged, starting over: {error!r}".splitlines()[0],
                file=sys.stderr,
            )
            return
        if matches:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.ema, self.best, self.log = state["ema"], state["best"], Log(**state["log"])
            self._count_plateaus()
            self.run.resumed = max(self.run.resumed, state["resumed"] + 1)
