"""Memory of a step, and its time beside another's, by a clock that the test moves."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from replications.flows.density.cnf import CNF
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.ode.solve import Solver
from replications.tasks.cost import added_cost, step_memory


class Decay(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(-0.5))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.a * x


def test_added_cost_is_in_percent_of_the_other_step_and_of_its_evaluations() -> None:
    flow, x, now = CNF(Decay(), StandardNormal(2)), torch.ones(4, 2), [0.0]

    def loss(steps: int, seconds: tuple[float, ...], gradient: str):
        integration = Integration(Solver("rk4", steps=steps), gradient=gradient)

        def step(i: int) -> Tensor:
            now[0] += seconds[i]
            return -flow.log_prob(x, integration=integration).mean()

        return step

    # 24 evaluations forward and, run again, 24 backward in 3 s for 2 s; 8 forward and none backward. One step is late.
    mine, other = loss(6, (90.0, 6.0, 3.0, 3.0), "checkpoint"), loss(2, (6.0, 4.0, 2.0, 2.0), "backprop")
    added = added_cost(flow, mine, other, 4, lambda: now[0])
    assert added.step == pytest.approx(50.0)
    assert added.evaluation == pytest.approx(100 * ((3 / 48) / (2 / 8) - 1))


def test_a_machine_that_slows_down_adds_no_cost() -> None:
    """Equal steps, each half a second later than the one before: a b, b a, a b, and no a a, b b."""
    flow, now, late = CNF(Decay(), StandardNormal(2)), [0.0], itertools.count()

    def loss(i: int) -> Tensor:
        now[0] += 1.0 + 0.5 * next(late)
        return -flow.log_prob(torch.ones(4, 2), integration=Integration(Solver("rk4", steps=2))).mean()

    for repeats in (2, 3, 6):
        added = added_cost(flow, loss, loss, repeats, lambda: now[0])
        assert added == pytest.approx((0.0, 0.0))


def test_memory_of_a_step_is_that_of_its_graph_and_its_gradients() -> None:
    weight = nn.Parameter(torch.ones(1000))
    weight.grad = torch.ones(1000)  # from before: not part of the peak

    def loss(i: int) -> Tensor:
        assert (i, weight.grad) == (0, None)  # its first batch
        return (weight * 2).square().sum()

    peak = step_memory(loss, [weight], "cpu")
    assert peak >= 3 * 4000  # the product, its gradient, the parameter's gradient
    assert peak < 6 * 4000


def test_what_a_warm_up_allocates_and_keeps_does_not_count() -> None:
    weight, kept = nn.Parameter(torch.ones(10)), []

    def loss(i: int) -> Tensor:
        if not kept:
            kept.append(torch.zeros(100_000))
        return weight.sum()

    assert step_memory(loss, [weight], "cpu", warmup=1) < 1000
    kept.clear()
    assert step_memory(loss, [weight], "cpu") > 400_000
