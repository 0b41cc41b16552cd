"""Quiet seconds: processor time in units of a fixed computation, so that a busy or another machine changes no budget.

A second of the budget is the time in which the reference machine, with nothing else running, does 1 / `NOMINAL` bursts.
A burst is a fixed piece of work like a training step of the suite: forward and backward pass of a small network. It is
timed again and again while a method trains, and the method's processor time is divided by the burst's: a machine that
is slower by 30 %, because others use its caches or because it is another, makes both longer.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import deque
from collections.abc import Callable

import torch
from torch import nn

NOMINAL = 0.0067
"""Processor seconds of a burst on the reference machine when it is quiet: one core of an AMD EPYC, torch 2.13."""
EVERY = 0.2
"""Processor seconds of work between two bursts."""
LATELY = 5
"""Bursts whose median is the present pace."""


class Burst:
    """The fixed piece of work: eight steps of Adam on 256 points, through three hidden layers of 64."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        sizes = (2, 64, 64, 64, 2)
        layers = [nn.utils.skip_init(nn.Linear, a, b) for a, b in itertools.pairwise(sizes)]
        for layer in layers:
            nn.init.normal_(layer.weight, 0, 0.1, generator)
            nn.init.zeros_(layer.bias)
        self.net = nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())))
        self.x = torch.randn(256, 2, generator=generator)
        self.optimizer = torch.optim.Adam(self.net.parameters(), 0.0)

    def __call__(self) -> None:
        """Do it once."""
        for _ in range(8):
            self.optimizer.zero_grad()
            self.net(self.x).square().mean().backward()
            self.optimizer.step()


class QuietTime:
    """Adds up quiet seconds.

    Args:
        clock: reads the processor time in seconds.
        burst: the fixed piece of work.
        nominal: what it takes on the quiet reference machine, in seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.process_time,
        burst: Callable[[], None] | None = None,
        nominal: float = NOMINAL,
    ) -> None:
        self.clock, self.burst, self.nominal = clock, burst or Burst(), nominal
        self.bursts: deque[float] = deque(maxlen=LATELY)
        self.total, self.since = 0.0, 0.0
        self.burst()  # what is used for the first time
        for _ in range(LATELY):
            self._time_burst()

    @property
    def pace(self) -> float:
        """Quiet seconds in a processor second of now."""
        return self.nominal / statistics.median(self.bursts)

    def add(self, work: Callable[[], None]) -> None:
        """Do some work, and add the quiet seconds that it took."""
        start = self.clock()
        work()
        spent = self.clock() - start
        self.total += spent * self.pace
        self.since += spent
        if self.since >= EVERY:
            self.since = 0.0
            self._time_burst()

    def _time_burst(self) -> None:
        start = self.clock()
        self.burst()
        self.bursts.append(self.clock() - start)
