"""A training step of a continuous normalizing flow, our way and the usual way to write one.

The usual way gets the Hutchinson term from a vector-Jacobian product inside the field, so that the adjoint's solve
differentiates twice. Ours pushes the probe forwards with the state and repeats each accepted step on the way back.
Network, probes, solver, tolerances and start are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torchdiffeq import odeint_adjoint

from bench.measure.clock import take_turns
from benchmarks.counting import Counting, Step
from replications.flows.density.cnf import CNF
from replications.flows.density.divergence import Divergence
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.fields.mlp import MlpField
from replications.flows.ode.solve import Solver

SOLVER = Solver("dopri5", rtol=1e-5, atol=1e-5)
GAIN = 2.0
"""Factor on the initial weights: the flow then needs about as many steps as a trained one."""


@dataclass(frozen=True)
class CnfSetting:
    """Dimension, widths of the hidden layers, batch, activation."""

    dim: int
    hidden: tuple[int, ...]
    batch: int
    activation: str = "tanh"

    def __str__(self) -> str:
        return (
            f"d = {self.dim}, hidden {self.hidden} {self.activation}, batch {self.batch}, {SOLVER.protocol}"
        )


Arm = Callable[[CnfSetting], Iterator[Step]]
"""Trains at a setting, pausing after each step to show the field with the step's evaluations."""


class CnfTask:
    """A network, data and probes, the same for every arm."""

    def __init__(self, setting: CnfSetting) -> None:
        generator = torch.Generator().manual_seed(0)
        integration = {"time": "concatsquash", "activation": setting.activation}
        self.field = MlpField(setting.dim, setting.hidden, generator, **integration)
        with torch.no_grad():
            for parameter in self.field.parameters():
                parameter.mul_(GAIN)
        self.prior = StandardNormal(setting.dim)
        self.x = torch.randn(setting.batch, setting.dim, generator=generator)
        eps = Divergence("rademacher").draw(self.x, generator)
        assert eps is not None
        self.eps = eps
        self.optimizer = torch.optim.Adam(self.field.parameters(), lr=1e-5)

    def update(self, z: Tensor, delta: Tensor) -> None:
        """Take a step down the gradient of the mean of -log p(x), for the end z and the integral delta."""
        self.optimizer.zero_grad()
        (-(self.prior.log_prob(z) + delta).mean()).backward()
        self.optimizer.step()


class DoubleBackward(nn.Module):
    """Slopes of x and delta; the probe meets the Jacobian by reverse mode, kept differentiable."""

    def __init__(self, task: CnfTask) -> None:
        super().__init__()
        self.field, self.eps = task.field, task.eps[0]

    def forward(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return f and eps^T J eps."""
        with torch.enable_grad():
            x = state[0].requires_grad_(True)
            f = self.field(t, x)
            (product,) = torch.autograd.grad(f, x, self.eps, create_graph=True)
        return f, (product * self.eps).sum(1)


def usual(setting: CnfSetting) -> Iterator[Step]:
    """Train the usual way."""
    task = CnfTask(setting)
    field = Counting(DoubleBackward(task))
    times = torch.tensor([0.0, 1.0])
    while True:
        field.counter.reset()
        z, delta = odeint_adjoint(
            field,
            (task.x, torch.zeros(len(task.x))),
            times,
            method=SOLVER.method,
            rtol=SOLVER.rtol,
            atol=SOLVER.atol,
            options={"step_t": times[1:]},  # ends on t = 1, as ours does
        )
        task.update(z[-1], delta[-1])
        yield Step(field.counter, task.field)


def ours(setting: CnfSetting, gradient: str = "checkpoint", compiled: bool = False) -> Iterator[Step]:
    """Train our way."""
    task = CnfTask(setting)
    integration = Integration(SOLVER, Divergence("rademacher"), gradient, compiled=compiled)
    flow = CNF(task.field, task.prior, integration)
    while True:
        flow.counter.reset()
        path = flow.path(task.x, task.eps)
        task.update(path.z, path.delta)
        yield Step(flow.counter, flow)


ARMS: dict[str, Arm] = {
    "usual": usual,
    "ours, adjoint": lambda setting: ours(setting, "adjoint"),
    "ours": ours,
    "ours, compiled": lambda setting: ours(setting, compiled=True),
    "ours, tape": lambda setting: ours(setting, "tape"),
    "ours, tape, compiled": lambda setting: ours(setting, "tape", compiled=True),
}


@dataclass(frozen=True)
class Timing:
    """The CPU time of each step of an arm in seconds, and its evaluations forward and backward in one step."""

    seconds: list[float]
    forward: int
    backward: int


def trained_in_turns(trainings: Mapping[str, Iterator[Step]], steps: int) -> dict[str, Timing]:
    """Time trainings, which take turns at every step.

    On one thread CPU time is the wall time of an otherwise idle machine.
    """
    last = {name: [next(training) for _ in range(3)][-1] for name, training in trainings.items()}
    arms = {name: partial(next, training) for name, training in trainings.items()}
    seconds = take_turns(arms, steps, time.process_time, warmup=0)
    return {
        name: Timing(seconds[name], s.counter.forward_evaluations, s.counter.backward_evaluations)
        for name, s in last.items()
    }
