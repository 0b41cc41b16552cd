"""The lecture's classifier, and what is measured of it."""

import torch

from replications.flows.ode.solve import Solver
from replications.flows.training.log import Log
from replications.lecture.experiments.mnist.classifier import build, with_solver
from replications.lecture.experiments.mnist.measured import (
    by_epoch,
    classified_by,
    memory_by_steps,
    peak_of_step,
)
from replications.tasks.splits import TestSet, TrainSet

ARGUMENTS = {"rtol": 1e-3, "atol": 1e-4, "gradient": "adjoint", "integration_time": 1.0}


def test_parameters_are_those_of_the_lecture() -> None:
    """784-128-64 encoder, 64-64-64 field with a time layer 1-64, read-out 64-10, biases everywhere."""
    count = sum(p.numel() for p in build(784, **ARGUMENTS).parameters())
    assert count == 785 * 128 + 129 * 64 + 2 * 65 * 64 + 2 * 64 + 65 * 10


def test_field_adds_its_time_layer_to_its_network() -> None:
    field = build(8, **ARGUMENTS).block.field
    h = torch.zeros(1, 64)
    slopes = [field(torch.tensor(t), h) for t in (0.0, 1.0, 2.0)]
    torch.testing.assert_close(slopes[2] - slopes[1], slopes[1] - slopes[0])
    assert (slopes[1] - slopes[0]).abs().max() > 0.1


def test_output_is_encoder_flow_and_read_out() -> None:
    model = build(8, **ARGUMENTS | {"integration_time": 2.0})
    x = torch.rand(3, 8, generator=torch.Generator().manual_seed(0))
    tight = with_solver(model, Solver("dopri5", rtol=1e-6, atol=1e-6), "backprop")
    h, dt = model.encode(x), 2.0 / 200
    with torch.no_grad():
        for i in range(200):  # the midpoint rule
            t, f = torch.tensor(i * dt), model.block.field
            h = h + dt * f(t + dt / 2, h + dt / 2 * f(t, h))
    torch.testing.assert_close(tight(x), model.read(h), atol=1e-4, rtol=0)
    assert (tight(x) - model.read(model.encode(x))).abs().max() > 1e-3


def test_seed_draws_the_parameters() -> None:
    first, again, other = (build(8, **ARGUMENTS, seed=seed).read.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def batch_of_ones() -> TrainSet:
    return TrainSet(torch.ones(32, 8), torch.zeros(32, dtype=torch.long))


def test_adjoint_memory_does_not_grow_with_the_steps() -> None:
    model = build(8, **ARGUMENTS)

    def growth(gradient: str) -> float:
        few, many = memory_by_steps(model, batch_of_ones(), gradient, (4, 24), "cpu")
        return (many - few) / 20

    state = 32 * 64 * 4
    assert growth("backprop") > state
    assert growth("adjoint") < 0.02 * state
    assert model.block.solver.method == "dopri5"  # copies were measured


def test_a_step_of_the_whole_batch_is_weighed() -> None:
    """Its gradients are of the size of the parameters, its hidden layer of that of the batch."""
    model = torch.nn.Linear(8, 10)
    assert peak_of_step(model, batch_of_ones(), "cpu") >= 4 * (90 + 2 * 320)


def test_epochs_are_summed_up_apart() -> None:
    log = Log(
        losses=[2.0, 4.0, 1.0, 3.0],
        nfe_forward=[10, 20, 30, 50],
        nfe_backward=[1, 3, 5, 7],
        validations=[(2, 40.0), (4, 25.0)],
    )
    found = by_epoch(log, [6, 2])
    assert found.losses == [2.5, 1.5]
    assert (found.nfe_forward, found.nfe_backward) == ([15.0, 40.0], [2.0, 6.0])
    assert (found.tested_after, found.accuracy) == ([1.0, 2.0], [60.0, 75.0])


def test_a_classifier_is_tested_by_the_solver_asked_for() -> None:
    model = build(8, **ARGUMENTS)
    test = TestSet(
        torch.rand(1500, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(1500, dtype=torch.long)
    )
    found = classified_by(model, test, Solver("rk4", steps=3))
    assert found.nfe == 12  # a forward pass, the mean over two batches
    with torch.no_grad():
        logits = with_solver(model, Solver("rk4", steps=3), "backprop")(test.points)
    assert found.right == int((logits.argmax(1) == 0).sum())
    assert model.block.solver.method == "dopri5"


class Keeping(torch.nn.Module):
    """A linear layer that allocates a workspace at its first use."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 10)
        self.workspace: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.workspace is None:
            self.workspace = torch.zeros(1_000_000)
        result: torch.Tensor = self.layer(x)
        return result


def test_a_workspace_is_no_part_of_the_memory_of_a_step() -> None:
    assert peak_of_step(Keeping(), batch_of_ones(), "cpu") < 1_000_000
