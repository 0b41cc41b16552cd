"""A tested classifier, its gradient and its evaluations, on models that are known."""

import pytest
import torch
from torch import Tensor, nn

from replications.flows.ode.block import ODEBlock
from replications.flows.ode.solver import Solver
from replications.flows.training.log import Log
from replications.neural_ode.experiments.mnist.measured import (
    classified_at,
    differentiated_by,
    evaluations,
    gradient_error,
)
from replications.tasks.splits import TestSet

SOLVER = Solver("dopri5", rtol=1e-3, atol=1e-2)


class Classifier(nn.Module):
    """Says class 1 where the input is above a half; evaluates its block twice, and notes by which solver."""

    def __init__(self) -> None:
        super().__init__()
        self.block = ODEBlock(nn.Identity(), SOLVER, "adjoint")
        self.solvers: list[Solver] = []

    def forward(self, x: Tensor) -> Tensor:
        self.solvers.append(self.block.solver)
        self.block.counter.count(2)
        return torch.stack((1 - x[:, 0], x[:, 0]), 1)


def test_a_network_is_tested_at_the_tolerance_asked_for_and_keeps_its_own() -> None:
    model = Classifier()
    test = TestSet(torch.tensor([[0.0], [2.0], [2.0], [2.0]]), torch.tensor([0, 1, 1, 0]))
    found = classified_at(model, model.block, test, lambda x: x / 2, 1e-6)
    assert (found.right, found.n, found.nfe) == (3, 4, 2.0)
    assert model.solvers == [Solver("dopri5", rtol=1e-6, atol=1e-6)]
    assert model.block.solver == SOLVER


def test_a_failed_test_leaves_the_solver_as_it_was() -> None:
    model = Classifier()
    with pytest.raises(IndexError):
        classified_at(model, model.block, TestSet(torch.zeros(2), torch.zeros(2)), lambda x: x, 1e-6)
    assert model.block.solver == SOLVER


class TwoGradients(nn.Module):
    """A model whose gradient depends on how its block is differentiated."""

    def __init__(self) -> None:
        super().__init__()
        self.block = ODEBlock(nn.Identity(), SOLVER, "adjoint")
        self.w = nn.Parameter(torch.zeros(2))

    def loss(self, iteration: int) -> Tensor:
        assert iteration == 0
        gradient = {"backprop": [3.0, 4.0], "adjoint": [3.0, 3.0]}[self.block.gradient]
        return self.w @ torch.tensor(gradient)


def test_the_error_of_a_gradient_is_in_units_of_that_by_backpropagation() -> None:
    model = TwoGradients()
    assert gradient_error(model, model.block, model.loss) == pytest.approx(1 / 5)
    assert model.block.gradient == "adjoint"
    with differentiated_by(model.block, "backprop"):
        assert gradient_error(model, model.block, model.loss) == 0


def test_evaluations_over_a_training_are_summed_before_they_are_divided() -> None:
    found = evaluations(Log(nfe_forward=[10, 20, 30, 40], nfe_backward=[40, 0, 0, 10]))
    assert (found.ratio, found.n) == (0.5, 4)
    assert found.trend == pytest.approx(10.0)  # evaluations an iteration
