"""What a re-run depends on is put back, and what can't be is noticed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from solve_cases import T0, T1, U, counts_once, every_other, start
from torch import Tensor, nn

from replications.flows.errors import RequestError
from replications.flows.ode.counter import Counter
from replications.flows.ode.repetition import Autocast, Memory, check_repetition
from replications.flows.ode.solve import Solver, solve
from replications.flows.ode.solver import ADAPTIVE

CPU = torch.device("cpu")


class Remembering(nn.Module):
    """A buffer that is written to, one that is replaced, and one that stays, deeper down."""

    n: Tensor
    latest: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("n", torch.zeros(2))
        self.register_buffer("latest", torch.zeros(2))
        self.register_buffer("absent", None)
        self.inner = nn.Sequential(nn.BatchNorm1d(2))

    def forward(self, x: Tensor) -> Tensor:
        self.n += 1
        self.latest = x.mean(0)
        return x


def test_draws_are_repeated() -> None:
    memory = Memory(None, CPU)
    before = memory.snapshot()
    assert memory.changes(before) == (False, False)
    first = torch.rand(3)
    assert memory.changes(before) == (True, False)
    memory.restore(before)
    assert memory.changes(before) == (False, False)
    assert torch.equal(torch.rand(3), first)


def test_buffers_are_put_back() -> None:
    field = Remembering()
    memory = Memory(field, CPU)
    before, latest = memory.snapshot(), field.latest
    field(torch.ones(3, 2))
    assert memory.changes(before) == (False, True)
    memory.restore(before)
    assert field.n.tolist() == [0, 0]
    assert field.latest.tolist() == [0, 0]
    assert latest.tolist() == [0, 0]
    field.inner(torch.randn(3, 2, generator=torch.Generator().manual_seed(0)))
    assert memory.changes(memory.snapshot()) == (False, False)
    memory.restore(before)
    assert field.inner[0].num_batches_tracked == 0
    assert torch.equal(field.inner[0].running_mean, torch.zeros(2))


def test_a_constant_buffer_that_is_no_number_does_not_change() -> None:
    field = Remembering()
    field.n.fill_(torch.nan)
    memory = Memory(field, CPU)
    before = memory.snapshot()
    assert memory.changes(before) == (False, False)
    field.n[0] = 1
    assert memory.changes(before) == (False, True)


def test_only_one_of_a_written_and_a_replaced_buffer_is_noticed_too() -> None:
    for change in (lambda f: f.n.add_(1), lambda f: setattr(f, "latest", torch.zeros(2))):
        field = Remembering()
        memory = Memory(field, CPU)
        before = memory.snapshot()
        change(field)
        assert memory.changes(before) == (False, True)


def test_an_evaluation_aside_leaves_no_trace_even_where_it_fails() -> None:
    field = Remembering()
    memory = Memory(field, CPU)
    before, buffers = memory.snapshot(), [field.n, field.latest]

    def fail() -> None:
        with memory.aside():
            field(torch.rand(3, 2))
            assert field.n.tolist() == [1, 1]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert memory.changes(before) == (False, False)
    assert [field.n is buffers[0], field.latest is buffers[1]] == [True, True]


def test_a_buffer_that_needs_a_gradient_is_no_memory() -> None:
    field = Remembering()
    field.n = torch.ones(2, requires_grad=True)
    memory = Memory(field, CPU)
    with memory.aside():
        assert field.n.requires_grad


def test_a_repetition_may_differ_by_rounding_alone() -> None:
    before = torch.tensor([1.0, -2.0], dtype=torch.float64)
    change = torch.tensor([0.0, 1e-3], dtype=torch.float64)
    check_repetition(before.clone(), before, change)
    check_repetition(before + 1e-14, before, change)
    check_repetition(before + 1e-12, before, change)  # 1e-9 of what was computed
    with pytest.raises(RequestError, match="draws or remembers"):
        check_repetition(before + 1e-10, before, change)
    check_repetition(before + 1e-10, before, 1e3 * change)
    with pytest.raises(RequestError):
        check_repetition(torch.full_like(before, torch.nan), before, change)
    gone = torch.full_like(before, torch.nan)
    check_repetition(before, gone, change)  # which ends in a divergence


def test_the_farthest_element_counts_to_either_side() -> None:
    before, change = torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0])
    for apart in ([0.1, 0.0], [0.0, -0.1], [-0.1, -0.1]):
        with pytest.raises(RequestError):
            check_repetition(before + torch.tensor(apart), before, change)
    large = torch.tensor([0.0, 1e8])  # 100 roundings of the largest, where nothing was added
    check_repetition(large + 100, large, torch.zeros(2))
    with pytest.raises(RequestError):
        check_repetition(large + 10_000, large, torch.zeros(2))


def test_under_autocast_the_rounding_is_that_of_half_precision() -> None:
    before, change = torch.ones(2), torch.ones(2)
    with pytest.raises(RequestError):
        check_repetition(before + 0.01, before, change)
    with torch.autocast("cpu", torch.bfloat16):
        check_repetition(before + 0.01, before, change)
        with pytest.raises(RequestError):
            check_repetition(before + 0.2, before, change)


def in_product() -> torch.dtype:
    return torch.mm(torch.ones(1, 1), torch.ones(1, 1)).dtype


def test_autocast_is_set_to_what_it_was() -> None:
    off = Autocast(CPU)
    with torch.autocast("cpu", torch.bfloat16):
        on = Autocast(CPU)
        with off.again():
            assert in_product() == torch.float32
        assert in_product() == torch.bfloat16
    with on.again():
        assert in_product() == torch.bfloat16
        assert not torch.is_autocast_cache_enabled()
    with torch.autocast("cpu", torch.float16):
        half = Autocast(CPU)
        with on.again():
            assert in_product() == torch.bfloat16
    with half.again():
        assert in_product() == torch.float16
    assert in_product() == torch.float32


@pytest.mark.parametrize("build", [every_other, counts_once])
def test_the_second_solve_meets_the_same_field(build: Callable[[Tensor], tuple[Any, Tensor]]) -> None:
    field, leaf = build(torch.tensor(U, dtype=torch.float64))
    # Twelve steps are 48 evaluations: one field alternates in both solves, the other changes in the second.
    with pytest.raises(RequestError, match="another value"):
        torch.autograd.grad(solve(field, start(), T0, T1, Solver("rk4", steps=12), "adjoint").sum(), leaf)


@pytest.mark.parametrize("method", ADAPTIVE)
def test_each_step_of_a_plain_function_repeats_whatever_slope_it_was_handed(method: str) -> None:
    y = torch.tensor([1.0, -0.5], dtype=torch.float64, requires_grad=True)
    counter = Counter()
    solver = Solver(method, 1e-4, 1e-4)
    end = solve(lambda t, y: -(1 + t) * y, y, 0.0, 2.0, solver, "checkpoint", counter=counter)
    (slope,) = torch.autograd.grad(end.sum(), y)
    torch.testing.assert_close(slope, (end / y).detach(), rtol=1e-6, atol=0)  # the equation is linear
    assert counter.backward_evaluations > 6  # several steps
