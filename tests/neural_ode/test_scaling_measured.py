"""A pass and a ladder of tolerances on fields with closed forms, times by a clock that the work moves."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from planted import Clock, Linear
from torch import Tensor, nn

from replications.flows.ode.solve import Solver
from replications.neural_ode.experiments.scaling.measured import (
    Differentiated,
    differentiate,
    gradient_pass,
    ladder,
    pass_costs,
    rung,
)
from replications.neural_ode.experiments.scaling.models import (
    ResidualStack,
    SolutionMap,
    mean_square,
    new_field,
)

A = 0.7
STATE = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)


class Constant(nn.Module):
    """f = c."""

    def __init__(self, c: float) -> None:
        super().__init__()
        self.c = c

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        return torch.full_like(h, self.c)


class Timed(Linear):
    """f = a h, each evaluation a second; notes whether a graph was kept."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(A)
        self.clock, self.graphs = clock, set[bool]()

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        self.clock.now += 1
        self.graphs.add(torch.is_grad_enabled())
        return super().forward(t, h)


def test_a_residual_network_divides_each_layer_by_their_number() -> None:
    stack = ResidualStack([Constant(1.0), Constant(2.0), Constant(6.0)])
    torch.testing.assert_close(stack(STATE), STATE + 3)


def test_layers_are_applied_one_after_the_other() -> None:
    stack = ResidualStack([Linear(1.0), Constant(4.0)])
    torch.testing.assert_close(stack(STATE), STATE * 1.5 + 2)


def test_the_solution_map_of_a_linear_field() -> None:
    solver = Solver("rk4", steps=50)
    torch.testing.assert_close(
        SolutionMap(Linear(A), solver, "backprop")(STATE), math.exp(A) * STATE, rtol=1e-7, atol=0
    )


def test_the_gain_multiplies_every_parameter() -> None:
    plain, strong = (
        new_field(3, (5,), gain, "concat", torch.Generator().manual_seed(0)) for gain in (1.0, 3.0)
    )
    for one, other in zip(plain.parameters(), strong.parameters(), strict=True):
        torch.testing.assert_close(other, 3 * one)


def test_a_pass_is_loss_and_gradient_by_parameters_and_input_afresh_each_time() -> None:
    model, inputs = nn.Linear(2, 1, bias=False).double(), []
    model.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    work = gradient_pass(model, STATE)
    for _ in range(2):
        work()
    w = model.weight.detach()
    out = STATE @ w.T
    torch.testing.assert_close(model.weight.grad, (2 * out * STATE).mean(0)[None])
    torch.testing.assert_close(inputs[1].grad, 2 * out * w / 2)
    assert mean_square(torch.tensor([[1.0, 3.0], [0.0, 0.0]])).item() == 2.5


def test_memory_and_time_of_a_pass_without_what_its_first_use_takes(clock: Clock) -> None:
    kept: list[Tensor] = []
    # once to warm up, once for the memory, once to warm up the timing, then three times
    takes = clock.takes(100.0, 50.0, 20.0, 1.0, 7.0, 2.0)

    def work() -> None:
        takes()
        if not kept:
            kept.append(torch.zeros(100_000))
        torch.zeros(500)

    (cost,) = pass_costs([work], "cpu", 3)
    assert cost.memory == pytest.approx(2000, abs=100)
    assert cost.seconds == 2.0


def test_solution_gradient_and_evaluations_of_a_linear_field() -> None:
    for gradient in ("backprop", "adjoint", "checkpoint"):
        found = differentiate(Linear(A), STATE, 1e-10, gradient)
        torch.testing.assert_close(found.end, math.exp(A) * STATE, rtol=1e-8, atol=0)
        by_input = 2 * math.exp(2 * A) * STATE / 4  # of the mean of h(1)^2 over four numbers
        by_a = 2 * math.exp(2 * A) * STATE.square().mean()
        torch.testing.assert_close(
            found.gradient, torch.cat((by_input.flatten(), by_a[None])), rtol=1e-7, atol=0
        )
        assert found.nfe_forward > 12
        assert (found.nfe_backward > 12) == (gradient != "backprop")


def test_a_rung_is_measured_against_what_counts_as_exact(clock: Clock) -> None:
    field = Timed(clock)
    found = differentiate(field, STATE, 1e-3, "adjoint")
    exact = Differentiated(found.end / 2, found.gradient / 4, 0, 0)
    field.graphs.clear()
    one = rung(field, STATE, 1e-3, "adjoint", exact, 7.0)
    assert (one.error, one.gradient_error) == (pytest.approx(1.0), pytest.approx(3.0))
    assert (one.nfe_forward, one.nfe_backward) == (found.nfe_forward, found.nfe_backward)
    assert one.seconds == 7.0


def test_the_solves_of_a_ladder_are_timed_alone(clock: Clock) -> None:
    field = Timed(clock)
    rungs = ladder(field, STATE, (1e-3, 1e-6), "adjoint", 1e-8, "cpu", 3)
    assert [one.seconds for one in rungs] == [one.nfe_forward for one in rungs]  # no pass backward, no sums
    assert False in field.graphs


def test_a_drift_does_not_tell_on_the_growth_with_depth(clock: Clock) -> None:
    """Passes of 1, 2 and 4 s on a machine that takes half a second more at every call."""
    late = itertools.count()

    def passing(seconds: float) -> Callable[[], None]:
        def work() -> None:
            clock.now += seconds + 0.5 * next(late)

        return work

    one, two, four = pass_costs([passing(seconds) for seconds in (1.0, 2.0, 4.0)], "cpu", 4)
    assert (two.seconds - one.seconds, four.seconds - two.seconds) == pytest.approx((1.0, 2.0))


def test_the_reference_of_a_ladder_is_far_more_exact_than_its_rungs() -> None:
    field, tolerances = Linear(-3.0), (1e-3, 1e-6)
    rungs = ladder(field, STATE, tolerances, "checkpoint", 1e-12, "cpu", 1)
    for one, tolerance in zip(rungs, tolerances, strict=True):
        end = differentiate(field, STATE, tolerance, "backprop").end
        exact = math.exp(-3.0) * STATE
        assert one.error == pytest.approx(((end - exact).norm() / exact.norm()).item(), rel=1e-3)
        assert one.nfe_backward > 0
    assert rungs[1].error < rungs[0].error / 100
    assert rungs[1].nfe_forward > rungs[0].nfe_forward


def test_the_gradient_of_a_ladder_is_compared_with_backpropagation() -> None:
    """Where adjoint and reference are solved alike, what is left is the adjoint's error, not zero."""
    (one,) = ladder(Linear(-3.0), STATE, (1e-3,), "adjoint", 1e-3, "cpu", 1)
    assert one.error == 0
    assert one.gradient_error > 1e-6
