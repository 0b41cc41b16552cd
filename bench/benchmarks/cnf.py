"""A training step of a continuous normalizing flow against the usual way to write one.

The usual way gets the Hutchinson term from a vector-Jacobian product inside the field, so that the adjoint's solve
differentiates twice. Ours pushes the probe forwards with the state and repeats each accepted step on the way back.
Network, probes, solver, tolerances and start are the same. `python -m bench.benchmarks.cnf` prints both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchdiffeq import odeint_adjoint

from bench.measure.nfe import CountedField
from bench.stats import paired_ratio
from replications.flows.cnf import CNF, Integration
from replications.flows.divergence import Divergence
from replications.flows.fields import MlpField
from replications.flows.priors import StandardNormal
from replications.flows.solve import Solver

SOLVER = Solver("dopri5", rtol=1e-5, atol=1e-5)
GAIN = 2.0
"""Factor on the initial weights: the flow then needs about as many steps as a trained one."""


@dataclass(frozen=True)
class Setting:
    """Dimension, widths of the hidden layers, batch."""

    dim: int
    hidden: tuple[int, ...]
    batch: int


SETTINGS = {"2-D": Setting(2, (64, 64, 64), 512), "43-D": Setting(43, (256, 256, 256), 1000)}


class Task:
    """A network, data and probes, the same for every arm."""

    def __init__(self, setting: Setting) -> None:
        generator = torch.Generator().manual_seed(0)
        self.field = MlpField(setting.dim, setting.hidden, generator, time="concatsquash")
        with torch.no_grad():
            for parameter in self.field.parameters():
                parameter.mul_(GAIN)
        self.prior = StandardNormal(setting.dim)
        self.x = torch.randn(setting.batch, setting.dim, generator=generator)
        self.eps = Divergence("rademacher").draw(self.x, generator)
        self.optimizer = torch.optim.Adam(self.field.parameters(), lr=1e-5)

    def update(self, loss: Tensor) -> None:
        """Take a step down the gradient."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class DoubleBackward(nn.Module):
    """Slopes of x and delta; the probe meets the Jacobian by reverse mode, kept differentiable."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.field, self.eps = task.field, task.eps

    def forward(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return f and eps^T J eps."""
        assert self.eps is not None
        with torch.enable_grad():
            x = state[0].requires_grad_(True)
            f = self.field(t, x)
            (product,) = torch.autograd.grad(f, x, self.eps[0], create_graph=True)
        return f, (product * self.eps[0]).sum(1)


def usual(setting: Setting) -> Iterator[CountedField]:
    """Train the usual way, pausing after each step."""
    task = Task(setting)
    counted = CountedField(DoubleBackward(task))
    times = torch.tensor([0.0, 1.0])
    while True:
        counted.reset()
        state = (task.x, torch.zeros(len(task.x)))
        z, delta = odeint_adjoint(
            counted,
            state,
            times,
            method=SOLVER.method,
            rtol=SOLVER.rtol,
            atol=SOLVER.atol,
            options={"step_t": times[1:]},  # ends on t = 1, as ours does
        )
        task.update(-(task.prior.log_prob(z[-1]) + delta[-1]).mean())
        yield counted


def ours(setting: Setting, gradient: str = "checkpoint", compiled: bool = False) -> Iterator[CountedField]:
    """Train our way, pausing after each step."""
    task = Task(setting)
    how = Integration(SOLVER, Divergence("rademacher"), gradient, compiled=compiled)
    flow = CNF(task.field, task.prior, how)
    while True:
        flow.counted.reset()
        task.update(-flow.log_prob(task.x, task.eps).mean())
        yield flow.counted


ARMS: dict[str, Callable[[Setting], Iterator[CountedField]]] = {
    "usual": usual,
    "ours, adjoint": lambda setting: ours(setting, "adjoint"),
    "ours": ours,
    "ours, compiled": lambda setting: ours(setting, compiled=True),
}


def seconds(setting: Setting, steps: int) -> tuple[dict[str, list[float]], dict[str, tuple[int, int]]]:
    """Return the CPU time of each training step of each arm, and its evaluations forward and backward.

    The arms take turns at every step. On one thread CPU time is the wall time of an otherwise idle machine.
    """
    trainings = {name: arm(setting) for name, arm in ARMS.items()}
    counted = {
        name: [next(training) for _ in range(3)][-1] for name, training in trainings.items()
    }  # warm-up
    times: dict[str, list[float]] = {name: [] for name in ARMS}
    for _ in range(steps):
        for name, training in trainings.items():
            start = time.process_time()
            next(training)
            times[name].append(time.process_time() - start)
    return times, {name: (c.forward_evaluations, c.backward_evaluations) for name, c in counted.items()}


class TrainingStep:
    """The cost of a training step from commit to commit."""

    timeout = 300.0
    params = (list(SETTINGS), ["ours", "ours, compiled"])
    param_names = ("setting", "arm")

    def setup(self, setting: str, arm: str) -> None:
        self.training = ARMS[arm](SETTINGS[setting])
        next(self.training)

    def time_step(self, setting: str, arm: str) -> None:
        next(self.training)


def main(steps: int = 12) -> None:
    """Print for each setting and arm: evaluations, time of a step, and how many times faster than the usual way."""
    for title, setting in SETTINGS.items():
        times, evaluations = seconds(setting, steps)
        print(f"{title}: hidden {setting.hidden}, batch {setting.batch}, {SOLVER.protocol}", flush=True)
        for name, values in times.items():
            ratio = paired_ratio(times["usual"], values)
            forward, backward = evaluations[name]
            print(
                f"  {name:15} NFE {forward:3} + {backward:3}  {1000 * statistics.median(values):8.1f} ms  "
                f"{ratio.mean:.2f}x, 95 % interval {ratio.low:.2f} to {ratio.high:.2f}"
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
