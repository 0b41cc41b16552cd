"""A training step and a generation of Flow Matching our way, and what the arms of other libraries share with it.

| part | shared by all arms |
|---|---|
| training step | network, data, path; draws of noise and time, mean squared error, gradient, AdamW |
| generation | network, noise, solver, steps or tolerances |

An eager step takes torch's own choice of AdamW, a compiled one its fused kernel, ours and the peers' alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from replications.flow_matching.compiled import CompiledObjective
from replications.flow_matching.method import METHODS, FlowMatching, draw, objective
from replications.flow_matching.model import flow_of
from replications.flows.density.integration import Integration
from replications.flows.density.priors import ShapedNormal
from replications.flows.fields.mlp import MlpField
from replications.flows.fields.unet import UNet
from replications.flows.ode.solver import Solver

SIGMA = 0.1
"""Of I-CFM, as the 2-D examples of tong2024improving have it."""
SAMPLES = 1000
GAIN = 1.5
"""Factor on a perceptron's initial weights: dopri5 then needs about as many steps as of a trained one."""


@dataclass(frozen=True)
class FlowMatchingSetting:
    """A network and how it is used.

    Args:
        shape: of one point or image.
        batch: of the training.
        network: returns v(t, x), with parameters that the generator draws.
        steps: of the training in one turn.
        turns: of each arm.
        solvers: for the generation.
    """

    shape: tuple[int, ...]
    batch: int
    network: Callable[[torch.Generator], nn.Module]
    steps: int = 20
    turns: int = 40
    solvers: tuple[Solver, ...] = (Solver("euler", steps=100), Solver("midpoint", steps=50), Solver())

    def normal(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n draws of N(0, I)."""
        return torch.randn(n, *self.shape, generator=generator)


def perceptron(hidden: Sequence[int], activation: str, time: str) -> Callable[[torch.Generator], nn.Module]:
    """Return how to build a perceptron in 2-D."""

    def network(generator: torch.Generator) -> nn.Module:
        field = MlpField(2, hidden, generator, time, activation)
        with torch.no_grad():
            for parameter in field.parameters():
                parameter.mul_(GAIN)
        return field

    return network


# Perceptrons of the code of tong2024improving, at half its batch, and of this project's Experiment 4, at twice its own.
SETTINGS = {
    "64, 64, 64": FlowMatchingSetting((2,), 256, perceptron((64, 64, 64), "selu", "input")),
    "128, 128, 128": FlowMatchingSetting((2,), 512, perceptron((128, 128, 128), "silu", "concat")),
    "U-Net": FlowMatchingSetting(
        (1, 14, 14),
        64,
        lambda generator: UNet((1, 14, 14), 16, generator, mult=(1, 2), depth=1, attention=()),
        steps=1,
        turns=15,
        solvers=(Solver("midpoint", steps=4),),
    ),
}


def method_of(name: str) -> FlowMatching:
    """Return `fm-ot` without noise about the data, or `i-cfm`."""
    return METHODS[name](*((SIGMA,) if name == "i-cfm" else ()))


class FlowMatchingTask:
    """A network, data and an optimizer, equal for every arm.

    Args:
        setting: what they are.
        compiled: whether the arm is to compile: then the optimizer is fused, and `network` is torch.compile's.

    Attributes:
        velocity: the network.
        network: the same as a peer calls it.
        column: shape of the times of a batch, one for each point.
    """

    def __init__(self, setting: FlowMatchingSetting, compiled: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        self.velocity = setting.network(generator)
        self.network = self.velocity
        if compiled:
            self.network = cast(nn.Module, torch.compile(self.velocity, dynamic=False))
        self.x1 = setting.normal(setting.batch, generator)
        self.column = (setting.batch, *(1 for _ in setting.shape))
        self.optimizer = torch.optim.AdamW(self.velocity.parameters(), lr=1e-4, fused=compiled or None)

    def descend(self, loss: Tensor) -> None:
        """Take a step down the gradient of a loss; one without graph has set it."""
        if loss.requires_grad:
            self.optimizer.zero_grad()
            loss.backward()
        self.optimizer.step()


Step = Callable[[], object]
Training = Callable[[FlowMatchingSetting, bool], tuple[FlowMatchingTask, Step]]
"""(setting, compiled) -> a task of its own, and what takes one step of its training."""
Generation = Callable[[nn.Module, Solver, Tensor], Callable[[], Tensor]]
"""(v, solver, x0) -> what returns the samples x1 that start at x0."""


def training(
    name: str, setting: FlowMatchingSetting, compiled: bool = False, seed: int = 0
) -> tuple[FlowMatchingTask, Step]:
    """Return a task of its own, and what takes a step of our training by a method of `method_of`."""
    task, method = FlowMatchingTask(setting, compiled), method_of(name)
    generator = torch.Generator().manual_seed(seed)
    eager = partial(objective, task.velocity, method.path)
    loss = CompiledObjective(task.velocity, method.path) if compiled else eager
    return task, lambda: task.descend(loss(task.x1, draw(method, task.x1, generator)))


def generation(
    velocity: nn.Module, solver: Solver, x0: Tensor, compiled: bool = False
) -> Callable[[], Tensor]:
    """Return what generates our way."""
    prior = ShapedNormal(tuple(x0.shape[1:]))
    flow = flow_of(velocity, prior, integration=Integration(solver, compiled=compiled))
    return torch.no_grad()(lambda: flow.decode(x0))
