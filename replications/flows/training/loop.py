"""The training loop, with checkpoints and exact resume."""

from __future__ import annotations

import copy
import dataclasses
import io
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from replications.flows.errors import SolveFailure
from replications.flows.ode.counter import Counter
from replications.flows.training.clock import TrainingClock
from replications.flows.training.host import Host
from replications.flows.training.log import Log
from replications.flows.training.settings import Training


def train(
    run: Host,
    model: nn.Module,
    loss: Callable[[int], Tensor],
    settings: Training,
    validate: Callable[[], float] | None = None,
    on_iteration: Callable[[int], None] | None = None,
    counter: Counter | None = None,
    phase: str = "train",
    clock: TrainingClock | None = None,
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
        counter: of evaluations that are logged, one entry an iteration.
        phase: tells trainings of one run apart.
        clock: by which data is drawn in `loss`; the time spent on it is logged apart.

    Raises:
        SolveFailure: `diverged`, where the loss is not finite.
    """
    trainer = _Trainer(run, model, settings, phase, clock)
    trainer.resume()
    while not trainer.finished:
        i = len(trainer.log.losses)
        trainer.step(i, loss, counter)
        every = settings.validate_every
        if validate and (trainer.finished or (every and (i + 1) % every == 0)):
            trainer.validate(validate)
        if on_iteration:
            on_iteration(i)
        trainer.save_if_due()
        run.progress(i + 1, settings.iterations, f"loss {trainer.log.losses[-1]:.4g}")
    if trainer.saved:
        trainer.save()  # so that a later training of the same run finds this one finished
    trainer.keep_weights()
    return trainer.log


class _Trainer:
    """The state of a training: weights, optimizer, average, best weights, log."""

    def __init__(
        self, run: Host, model: nn.Module, settings: Training, phase: str, clock: TrainingClock | None
    ) -> None:
        self.run, self.model, self.settings, self.phase = run, model, settings, phase
        self.clock, self.draws, self.warm = clock or TrainingClock(), clock is not None, False
        self.optimizer = settings.build_optimizer(model)
        self.ema = [p.detach().clone() for p in model.parameters()] if settings.ema_decay else []
        self.average = get_ema_multi_avg_fn(settings.ema_decay)
        self.best: dict[str, Tensor] | None = None
        self.log, self.stalest, self.dropped = Log(), 0, 0
        self.saved, self.saved_at = False, time.monotonic()

    @property
    def finished(self) -> bool:
        settings = self.settings
        ended = len(self.log.losses) >= settings.iterations or 0 < settings.patience <= self.log.stale
        spent = 0 < settings.evaluations <= self.log.evaluations
        return ended or spent or 0 < settings.drops < self.dropped

    def step(self, i: int, loss: Callable[[int], Tensor], counter: Counter | None) -> None:
        start, drawing = self.clock(), self.clock.drawing
        if counter is not None:
            counter.reset()
        rate = self.settings.lr_at(i, self.stalest, self.dropped)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        value = loss(i)
        number = value.item()
        if not math.isfinite(number):
            raise SolveFailure("diverged", f"loss is {number} at iteration {i}")
        if value.requires_grad:
            value.backward()
        if self.settings.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        if self.ema:
            with torch.no_grad():
                self.average(self.ema, list(self.model.parameters()), 1)
        self.run.synchronize()
        self.log.seconds.append(self.clock() - start)
        if self.draws:
            self.log.drawing.append(self.clock.drawing - drawing)
        if not self.warm:
            self.log.starts.append(i)
            self.warm = True
        self.log.losses.append(number)
        if counter is not None:
            self.log.nfe_forward.append(counter.forward_evaluations)
            self.log.nfe_backward.append(counter.backward_evaluations)
            if steps := counter.taped + counter.checkpointed:
                self.log.kept.append(counter.taped / steps)

    def validate(self, validate: Callable[[], float]) -> None:
        with self.averaged():
            self.log.validations.append((len(self.log.losses), validate()))
            self._count_plateaus()
            if self.settings.keeps_best and self.log.stale == 0:
                self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def _count_plateaus(self) -> None:
        self.stalest = self.log.stalest
        if self.settings.schedule == "drops":
            self.dropped = self.log.dropped(self.settings.plateau)

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
        return [self.run.key, self.phase, dataclasses.asdict(self.settings)]

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
        self.run.save_state(self.phase, buffer.getvalue())
        self.saved, self.saved_at = True, time.monotonic()

    def resume(self) -> None:
        """Take over the state of the run's checkpoint, where there is a whole one of this very training."""
        kept = self.run.load_state(self.phase)
        if kept is None:
            return
        self.saved = True
        before = copy.deepcopy((self.model.state_dict(), self.optimizer.state_dict()))
        fresh = self.ema, self.best, self.log
        try:
            state = torch.load(io.BytesIO(kept), map_location=self.run.device, weights_only=True)
            if state["signature"] == self.signature:
                self._take_over(state)
        except (
            Exception
        ) as error:  # an unfit state can fail in any way, and costs no more than the time to redo
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            self.run.note(f"the state of phase {self.phase!r} does not fit ({reason}); it started afresh")
            self.model.load_state_dict(before[0])
            self.optimizer.load_state_dict(before[1])
            self.ema, self.best, self.log = fresh
            self.stalest = self.dropped = 0

    def _take_over(self, state: dict[str, Any]) -> None:
        log, ema, best, resumed = Log(**state["log"]), state["ema"], state["best"], state["resumed"] + 1
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema, self.best, self.log = ema, best, log
        self._count_plateaus()
        self.run.resumed = max(self.run.resumed, resumed)
