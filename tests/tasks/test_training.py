"""A training by a method's objective: what it draws, what it is recorded as, what it is compared with."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.execution.run import Run
from bench.identity import Identity
from replications.flows.density.cnf import CNF
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.ode.solver import Solver
from replications.flows.training.settings import Training
from replications.tasks.method import Method
from replications.tasks.training import fit_by


@dataclass(frozen=True)
class Config:
    iterations: int = 3
    batch: int = 4
    steps: int = 2
    repeats: int = 2


class Decay(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(-0.5))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.a * x


def in_training(config: Config) -> Integration:
    return Integration(Solver("rk4", steps=config.steps))


def objective(flow: Flow, x: Tensor, config: Config, generator: torch.Generator) -> Tensor:
    """The NLL at points moved by a draw."""
    moved = x + torch.randn(x.shape, generator=generator)
    return -flow.log_prob(moved, integration=in_training(config)).mean()


METHOD = Method(in_training, objective)
ADDING = Method(in_training, objective, plain=lambda config: Config(config.iterations, config.batch, 1))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Identity("test.training", "only", "smoke", 0, 1, {}, {}), tmp_path)


def batch(i: int) -> Tensor:
    return torch.full((4, 2), float(i))


def new_flow() -> CNF:
    return CNF(Decay(), StandardNormal(2))


def test_each_loss_is_of_its_batch_and_its_own_draws(run: Run) -> None:
    flow, done = new_flow(), []
    log = fit_by(run, flow, METHOD, Config(), batch, Training(3, 0.0), on_iteration=done.append)
    expected = [
        objective(flow, batch(i), Config(), run.torch_generator(f"probes/{i}")).item() for i in range(3)
    ]
    assert log.losses == pytest.approx(expected)
    assert done == [0, 1, 2]
    assert run.metrics["train_time"].protocol == "3 iterations of 4/exact-trace/rk4-2/eager"
    assert run.metrics["parameters"].value == 1
    assert run.metrics["nfe_forward"].value == 4 * 2
    assert not any(key.startswith("overhead") for key in run.metrics)


def test_a_method_that_adds_something_stands_beside_the_one_without(run: Run) -> None:
    fit_by(run, new_flow(), ADDING, Config(), batch, Training(3, 0.0), protocol="p")
    assert run.metrics["overhead[step]"].n == 2
    assert run.metrics["overhead[step]"].protocol == "p/median over 2 turns forth and back, trained weights"
    assert run.metrics["train_time"].protocol == "p/eager"
