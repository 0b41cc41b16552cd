"""What the harness costs: a training of 100 iterations through `train` against a bare loop of the same arithmetic.

The harness's share: evaluations counted, batches from the run's streams, a clock and a log, a look at each loss,
progress events, checkpoints (one on the way, one at the end: far more than a run's every 20 s), curves.
`python -m benchmarks.overhead` prints it; the target is at most 1 %.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from bench.execution.run import Run
from bench.identity import Identity
from benchmarks.counting import Counting
from replications.flows.fields.mlp import MlpField
from replications.flows.training.batches import Batches
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.tasks.recording import record_curves

EPOCHS = 10
POINTS, BATCH = 5120, 512
ITERATIONS = EPOCHS * POINTS // BATCH
LR = 1e-3
IDENTITY = Identity("benchmark.overhead", "only", "smoke", 0, 1, {}, {})
ARMS = ("bare", "control", "harness")
"""The control is a second bare training: what it differs from the first by is noise."""


class OverheadTask:
    """Learn the flow that turns points (B, 2) by a quarter; the same start in every training."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.field = MlpField(2, (64, 64, 64), generator)
        self.x = torch.randn(POINTS, 2, generator=generator)
        self.target = self.x @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
        self.times = torch.tensor([0.0, 1.0])

    def loss(self, field: nn.Module, batch: Tensor) -> Tensor:
        """Return the mean square distance to the targets."""
        z = odeint(field, self.x[batch], self.times, method="dopri5", rtol=1e-5, atol=1e-5)[-1]
        return (z - self.target[batch]).square().mean()


def bare(epochs: int) -> tuple[float, list[float]]:
    """Train with a plain loop, on the batches of the run; return its wall time in seconds, and the losses."""
    task, losses = OverheadTask(), []
    seeds = [Run(IDENTITY, Path()).seed(f"epoch/{epoch}") for epoch in range(epochs)]
    start = time.perf_counter()
    optimizer = torch.optim.Adam(task.field.parameters(), lr=LR)
    for seed in seeds:
        for batch in torch.randperm(POINTS, generator=torch.Generator().manual_seed(seed)).split(BATCH):
            optimizer.zero_grad()
            loss = task.loss(task.field, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return time.perf_counter() - start, losses


def harnessed(epochs: int, checkpoint_seconds: float) -> tuple[float, list[float]]:
    """Train the same through the harness, from nothing; return its wall time in seconds, and the losses."""
    task = OverheadTask()
    field = Counting(task.field)
    settings = Training(epochs * POINTS // BATCH, LR, checkpoint_seconds=checkpoint_seconds)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as events:
        start = time.perf_counter()
        run = Run(IDENTITY, Path(folder), events=events)
        batches = Batches(run, POINTS, BATCH)
        log = train(run, task.field, lambda i: task.loss(field, batches(i)), settings, counter=field.counter)
        record_curves(run, log)
        seconds = time.perf_counter() - start
        assert any(Path(folder).rglob("*.pt")), "the training wrote no checkpoint"
    return seconds, log.losses


def measure(rounds: int) -> dict[str, list[float]]:
    """Return the wall times, in seconds, of a training of each arm in each round; the order changes by round."""
    harnessed(1, checkpoint_seconds=0.0)  # warm up
    fastest = bare(EPOCHS)[0]
    seconds: dict[str, list[float]] = {name: [] for name in ARMS}
    for order in itertools.islice(itertools.cycle(itertools.permutations(ARMS)), rounds):
        for name in order:
            # One on the way, after 60 % of a training; more where other work slows this one down.
            spent, _ = harnessed(EPOCHS, 0.6 * fastest) if name == "harness" else bare(EPOCHS)
            seconds[name].append(spent)
        fastest = min(fastest, *seconds["bare"])
    return seconds


def relative(seconds: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return each round's times in %: the harness's of the mean of both bare ones, the control's of the other."""
    rounds = list(zip(*(seconds[name] for name in ARMS)))
    return {
        "harness": [200 * c / (a + b) for a, b, c in rounds],
        "control": [100 * b / a for a, b, _ in rounds],
    }


def median_interval(values: list[float]) -> tuple[float, float]:
    """Return the 95 % interval of a median, from order statistics; not a number for fewer than 6 values."""
    from scipy.stats import quantile_test  # takes most of a second to import

    low, high = quantile_test(np.array(values), p=0.5).confidence_interval(0.95)
    return float(low), float(high)


class Overhead:
    """The harness's cost from commit to commit; asv compares by ratio, so 100 stands for no cost."""

    timeout = 600.0
    unit = "% of the time of a bare loop"

    def setup(self) -> None:
        torch.set_num_threads(1)

    def track_relative_time(self) -> float:
        return statistics.median(relative(measure(6))["harness"])


def main(rounds: int = 12) -> None:
    """Print the time of an iteration, what the harness adds, and what the control says of the noise."""
    seconds = measure(rounds)
    iteration = statistics.median(seconds["bare"] + seconds["control"]) / ITERATIONS
    print(
        f"{rounds} rounds of {ITERATIONS} iterations; {1000 * iteration:.1f} ms an iteration of the bare loop"
    )
    for name, values in relative(seconds).items():
        low, high = median_interval(values)
        print(
            f"{name}  median {statistics.median(values) - 100:+.2f} %, "
            f"95 % interval {low - 100:+.2f} to {high - 100:+.2f} %"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
