"""What measuring costs: a training run with the harness's instruments against the same run without.

`python -m bench.benchmarks.overhead` prints it; the target is at most 1 % on 100 iterations.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from bench.measure.clock import Stopwatch
from bench.measure.nfe import CountedField
from bench.stats import Interval, mean_interval

ITERATIONS = 100
BATCH, DIMENSION, WIDTH = 64, 2, 64


class Velocity(nn.Module):
    """dz/dt = MLP(z, t), z of shape (B, 2), two hidden layers of 64 units."""

    def __init__(self) -> None:
        super().__init__()
        widths = (DIMENSION + 1, WIDTH, WIDTH, DIMENSION)
        first, second, last = (nn.Linear(a, b) for a, b in pairwise(widths))
        self.net = nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), last)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return the velocity, (B, 2)."""
        velocity: Tensor = self.net(torch.cat([z, t.expand(len(z), 1)], dim=1))
        return velocity


class Task:
    """Learn the flow that turns points (B, 2) by a quarter: dopri5 at rtol 1e-3 and atol 1e-4, Adam."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.field = Velocity()
        for parameter in self.field.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)
        self.x = torch.randn(BATCH, DIMENSION, generator=generator)
        self.target = self.x @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
        self.times = torch.tensor([0.0, 1.0])
        self.optimizer = torch.optim.Adam(self.field.parameters(), lr=1e-3)

    def loss(self, field: nn.Module) -> Tensor:
        """Return the mean square distance to the targets."""
        z = odeint(field, self.x, self.times, method="dopri5", rtol=1e-3, atol=1e-4)[-1]
        return (z - self.target).square().mean()


def bare_training(task: Task) -> Iterator[None]:
    """Train without instruments, pausing after each iteration."""
    while True:
        loss = task.loss(task.field)
        task.optimizer.zero_grad()
        loss.backward()
        task.optimizer.step()
        yield


def instrumented_training(task: Task) -> Iterator[None]:
    """Train the same with phases timed, evaluations counted, and curves of the loss and both counts kept."""
    watch, field = Stopwatch(), CountedField(task.field)
    curve: list[tuple[float, int, int]] = []
    while True:
        field.reset()
        with watch("forward"):
            loss = task.loss(field)
        with watch("backward"):
            task.optimizer.zero_grad()
            loss.backward()
        with watch("update"):
            task.optimizer.step()
        curve.append((loss.item(), field.forward_evaluations, field.backward_evaluations))
        yield


ARMS = {"bare": bare_training, "control": bare_training, "instrumented": instrumented_training}
"""The control is a second bare run: what it differs from the first by is noise."""


def run_side_by_side(seed: int) -> dict[str, float]:
    """Return the median time of an iteration, in seconds, of one training run of each arm.

    The runs take turns at every iteration, in an order drawn anew each time, so that all meet the same machine.
    The clock is the process's: instruments compute and never wait, and what else the machine does stays out.
    """
    generator = random.Random(seed)
    trainings = {name: arm(Task()) for name, arm in ARMS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ARMS}
    for training in trainings.values():
        next(training)  # warm up
    for _ in range(ITERATIONS):
        for name in generator.sample(list(ARMS), len(ARMS)):
            start = time.process_time()
            next(trainings[name])
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def overhead(runs: list[dict[str, float]]) -> Interval:
    """Return what the instruments add, in % of the mean of both bare runs, and its interval over runs."""
    return mean_interval([200 * run["instrumented"] / (run["bare"] + run["control"]) - 100 for run in runs])


class Overhead:
    """The instruments' cost from commit to commit; asv compares by ratio, so 100 stands for no cost."""

    timeout = 120.0
    unit = "% of the time without instruments"

    def track_relative_time(self) -> float:
        return 100 + overhead([run_side_by_side(seed) for seed in range(7)]).mean


def main(repeats: int = 30) -> None:
    """Print the time of an iteration, the overhead, and what the control says of the noise."""
    runs = [run_side_by_side(seed) for seed in range(repeats)]
    bare = statistics.median(run["bare"] for run in runs)
    print(f"{repeats} runs of {ITERATIONS} iterations; {1000 * bare:.2f} ms an iteration without instruments")
    noise = mean_interval([100 * (run["control"] / run["bare"] - 1) for run in runs])
    for name, cost in (("overhead", overhead(runs)), ("noise", noise)):
        print(f"{name:9} {cost.mean:+.2f} %, 95 % interval {cost.low:+.2f} to {cost.high:+.2f} %")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
