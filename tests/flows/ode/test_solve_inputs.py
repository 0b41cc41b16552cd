"""States, times and values of a field: solved as they are, or refused by one error that names the fault."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from solve_cases import GRADIENTS, SOLVERS, T0, T1, MovesTime, Overwrites, OverwritesData, Own, U
from solve_cases import start as three
from torch import Tensor

from replications.flows.errors import RequestError
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Diverged, Solver, solve, trajectory
from replications.flows.ode.state import as_tensor

EVERY = [
    pytest.param(solver, gradient, id=f"{gradient}-{kind}")
    for kind, solver in SOLVERS.items()
    for gradient in GRADIENTS
]
BOTH = pytest.mark.parametrize(("solver", "gradient"), EVERY)


def decay(t: Tensor, y: Any) -> Any:
    return tuple(-part for part in y) if isinstance(y, tuple) else -y


# --- times ---


@BOTH
@pytest.mark.parametrize("t1", [math.inf, -math.inf, math.nan, torch.tensor(math.inf), np.float64("nan")])
@pytest.mark.parametrize("differentiate", [True, False])
def test_times_that_are_not_finite(solver: Solver, gradient: str, t1: Any, differentiate: bool) -> None:
    y = three().requires_grad_(differentiate)
    for times in ((0.0, t1), (t1, 0.0)):
        with pytest.raises(RequestError, match="must be finite"):
            solve(decay, y, *times, solver, gradient)
    with pytest.raises(RequestError, match="must be finite"):
        trajectory(decay, y, torch.tensor([0.0, float(t1)]), solver)


@pytest.mark.parametrize(
    ("t1", "message"),
    [
        ("1.0", "must be finite numbers"),
        (None, "one number"),
        (1j, "one number"),
        (torch.tensor(1j), "one number"),
        (torch.tensor([0.5, 1.0]), "one number"),
        ([1.0], "one number"),
        (torch.tensor(1.0, requires_grad=True), "detach"),
    ],
)
def test_times_that_are_no_numbers(t1: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        solve(decay, three(), 0.0, t1)


@BOTH
@pytest.mark.parametrize(
    "t1",
    [1, True, np.float32(1), np.int64(1), torch.tensor(1), torch.tensor([1.0]), torch.tensor(1.0).half()],
)
def test_times_of_every_kind_of_number(solver: Solver, gradient: str, t1: Any) -> None:
    end = solve(decay, three().requires_grad_(), 0, t1, solver, gradient)
    torch.testing.assert_close(end.detach(), three() / math.e, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0, 1.0, 1.0], "rise throughout"),
        ([0.0, 2.0, 1.0], "rise throughout"),
        ([], "at least one time"),
        (torch.zeros(2, 2), r"must be \(T,\)"),
        (torch.tensor(1.0), r"must be \(T,\)"),
        (torch.tensor([0.0, 1.0], requires_grad=True), "detach"),
        ([0.0, "x"], "must be finite numbers"),
    ],
)
def test_times_of_a_trajectory_that_can_not_be(times: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        trajectory(decay, three(), times)


@pytest.mark.parametrize(
    "times", [[0.0], [0.0, 0.25, 1.0], [1.0, 0.5, -0.5], torch.tensor([0, 1, 2]), (0.0, 1e-9)]
)
@pytest.mark.parametrize(
    "solver", [SOLVERS["fixed"], SOLVERS["adaptive"], Solver("dopri5", 1e-9, 1e-9, step_to_end=False)]
)
def test_times_of_a_trajectory(times: Any, solver: Solver) -> None:
    states = trajectory(decay, three(), times, solver)
    elapsed = torch.as_tensor(times, dtype=torch.float64) - float(times[0])
    torch.testing.assert_close(states, torch.exp(-elapsed)[:, None, None] * three(), rtol=1e-5, atol=0)


def test_times_are_in_single_precision_where_a_device_has_no_other() -> None:
    class Device:
        def __init__(self, kind: str) -> None:
            self.device = torch.device(kind)

    assert as_tensor([0.5], torch.zeros(1)).dtype == torch.float64
    made = []

    def tensor(times: list[float], dtype: torch.dtype, device: torch.device) -> None:
        made.append((times, dtype, device.type))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "tensor", tensor)
        as_tensor([0.5], Device("mps"))  # type: ignore[arg-type]
    assert made == [([0.5], torch.float32, "mps")]


# --- states ---


@BOTH
@pytest.mark.parametrize(
    ("state", "message"),
    [
        (torch.ones(3, dtype=torch.float16), "float32 or float64, not float16; .*autocast"),
        (torch.ones(3, dtype=torch.bfloat16), "not bfloat16; .*autocast"),
        (torch.ones(3, dtype=torch.complex64), "not complex64; .*view_as_real"),
        (torch.ones(3, dtype=torch.int64), "not int64; convert it"),
        (torch.ones(3, dtype=torch.bool), "not bool"),
        ((torch.ones(3), torch.ones(3, dtype=torch.float64)), "float32 on cpu and torch.float64 on cpu"),
        ((torch.ones(3), torch.ones(3, device="meta")), "on cpu and torch.float32 on meta"),
        ((torch.ones(3), 1.0), "not a tuple of Tensor, float"),
        ((), "not a tuple of nothing"),
        ([torch.ones(3)], "not a list"),
        (np.ones(3), "not a ndarray"),
        (1.0, "not a float"),
    ],
)
def test_states_that_can_not_be_solved(solver: Solver, gradient: str, state: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        solve(decay, state, 0.0, 1.0, solver, gradient)
    with pytest.raises(RequestError, match=message):
        trajectory(decay, state, torch.tensor([0.0, 1.0]), solver)


@BOTH
@pytest.mark.parametrize("differentiate", [True, False])
def test_an_empty_batch_is_its_own_solution(solver: Solver, gradient: str, differentiate: bool) -> None:
    counter = Counter()
    y = torch.zeros(0, 2, requires_grad=differentiate)
    end = solve(decay, y, 0.0, 1.0, solver, gradient, counter=counter)
    assert end.shape == (0, 2)
    assert end.requires_grad == differentiate
    z, delta = solve(decay, (y, torch.zeros(0)), 0.0, 1.0, solver, gradient, counter=counter)
    assert (z.shape, delta.shape) == ((0, 2), (0,))
    assert trajectory(decay, y, torch.tensor([0.0, 0.5, 1.0]), solver).shape == (3, 0, 2)
    assert counter.forward_evaluations == 0


@BOTH
def test_an_empty_part_beside_another(solver: Solver, gradient: str) -> None:
    y = three().requires_grad_()
    end, nothing = solve(decay, (y, y[:0]), 0.0, 1.0, solver, gradient)
    torch.testing.assert_close(end.detach(), three() / math.e, rtol=1e-5, atol=0)
    assert nothing.shape == (0, 2)


@BOTH
@pytest.mark.parametrize("shape", [(), (1,), (2, 1, 3)])
def test_states_of_every_shape(solver: Solver, gradient: str, shape: tuple[int, ...]) -> None:
    y = torch.full(shape, 2.0, dtype=torch.float64, requires_grad=True)
    end = solve(decay, y, 0.0, 1.0, solver, gradient)
    torch.testing.assert_close(end.detach(), y.detach() / math.e, rtol=1e-5, atol=0)
    (slope,) = torch.autograd.grad(end.sum(), y)
    torch.testing.assert_close(slope, torch.full(shape, 1 / math.e, dtype=torch.float64), rtol=1e-5, atol=0)


@BOTH
def test_a_state_with_gaps_in_memory(solver: Solver, gradient: str) -> None:
    y = torch.arange(12.0, dtype=torch.float64).reshape(3, 4)[:, ::2].T.requires_grad_()
    end = solve(decay, y, 0.0, 1.0, solver, gradient)
    torch.testing.assert_close(end.detach(), y.detach() / math.e, rtol=1e-5, atol=0)


@BOTH
@pytest.mark.parametrize("fault", [math.nan, math.inf])
def test_a_state_that_is_not_finite_has_diverged(solver: Solver, gradient: str, fault: float) -> None:
    y = torch.tensor([1.0, fault], dtype=torch.float64, requires_grad=True)
    with pytest.raises(Diverged):
        solve(decay, y, 0.0, 1.0, solver, gradient)


# --- values of a field ---


@BOTH
@pytest.mark.parametrize("differentiate", [True, False])
@pytest.mark.parametrize(
    ("field", "message"),
    [
        (lambda t, y: y.sum(0, keepdim=True), r"the shape \(1, 2\) for a state of \(3, 2\)"),
        (lambda t, y: y.sum(1), r"the shape \(3,\) for a state of \(3, 2\)"),
        (lambda t, y: y.sum(), r"the shape \(\) for a state of \(3, 2\)"),
        (lambda t, y: y[None], r"the shape \(1, 3, 2\) for"),
        (lambda t, y: y.float(), "float32 for a state of float64"),
        (lambda t, y: y.half(), "float16 for a state of float64"),
        (lambda t, y: y.to(torch.complex128), "complex128 for a state of float64"),
        (lambda t, y: torch.ones(3, 2, dtype=torch.int64), "int64 for a state of float64"),
        (lambda t, y: torch.ones(3, 2, device="meta"), "on meta for a state on cpu"),
        (lambda t, y: None, "not a NoneType"),
        (lambda t, y: 1.0, "not a float"),
        (lambda t, y: (y,), "not a tuple"),
        (lambda t, y: y.detach().numpy(), "not a ndarray"),
    ],
)
def test_values_that_differ_from_the_state(
    solver: Solver, gradient: str, differentiate: bool, field: Any, message: str
) -> None:
    y = three().requires_grad_(differentiate)
    with pytest.raises(RequestError, match=message):
        solve(field, y, 0.0, 1.0, solver, gradient)
    with pytest.raises(RequestError, match=message):
        trajectory(field, y, torch.tensor([0.0, 1.0]), solver)


@BOTH
@pytest.mark.parametrize(
    ("field", "message"),
    [
        (lambda t, s: s[0], "2 parts as the state has, not a Tensor"),
        (lambda t, s: (s[0],), "2 parts as the state has, not a tuple of Tensor"),
        (lambda t, s: (*s, s[0]), "2 parts"),
        (lambda t, s: (s[0], s[0]), r"the shape \(3, 2\) for a state of \(3,\)"),
        (lambda t, s: (s[0], s[1].float()), "float32 for a state of float64"),
        (lambda t, s: (s[0], 0.0), "not a float"),
    ],
)
def test_values_that_differ_from_a_state_of_parts(
    solver: Solver, gradient: str, field: Any, message: str
) -> None:
    y = three().requires_grad_()
    with pytest.raises(RequestError, match=message):
        solve(field, (y, y[:, 0]), 0.0, 1.0, solver, gradient)


@BOTH
def test_values_that_change_their_shape_on_the_way(solver: Solver, gradient: str) -> None:
    y = three().requires_grad_()
    with pytest.raises(RequestError, match=r"the shape \(1, 2\) for a state of \(3, 2\)"):
        solve(lambda t, y: -y if t < 0.5 else -y[:1], y, 0.0, 1.0, solver, gradient)


@BOTH
def test_a_list_will_do_for_a_tuple(solver: Solver, gradient: str) -> None:
    y = three().requires_grad_()
    ends = solve(lambda t, s: [-s[0], -s[1]], (y, y[:, 0]), 0.0, 1.0, solver, gradient)
    torch.testing.assert_close(ends[1].detach(), three()[:, 0] / math.e, rtol=1e-5, atol=0)


@BOTH
def test_a_constant_slope(solver: Solver, gradient: str) -> None:
    """dy/dt = 1 of a value without graph: y(t1) = y(t0) + t1 - t0, whose gradient is the identity."""
    y = three().requires_grad_()
    end = solve(lambda t, y: torch.ones(3, 2, dtype=torch.float64), y, 0.0, 1.0, solver, gradient)
    torch.testing.assert_close(end.detach(), three() + 1, rtol=1e-12, atol=1e-12)
    (slope,) = torch.autograd.grad(end.square().sum() / 2, y)
    torch.testing.assert_close(slope, end.detach(), rtol=1e-12, atol=0)


@BOTH
@pytest.mark.parametrize("kind", [Overwrites, OverwritesData, MovesTime])
def test_without_gradient_a_field_that_writes_to_its_arguments_is_refused(
    kind: type[Own], solver: Solver, gradient: str
) -> None:
    field = kind(torch.tensor(U, dtype=torch.float64))
    with torch.no_grad(), pytest.raises(RequestError, match="in place"):
        solve(field, three(), T0, T1, solver, gradient)


@BOTH
def test_without_gradient_every_evaluation_is_counted_and_a_field_may_draw(
    solver: Solver, gradient: str
) -> None:
    counter, calls = Counter(), []
    generator = torch.Generator().manual_seed(0)

    def field(t: Tensor, y: Tensor) -> Tensor:
        calls.append(float(t))
        return -y + 1e-13 * torch.randn(y.shape, dtype=y.dtype, generator=generator)

    with torch.no_grad():
        end = solve(field, three(), 0.0, 1.0, solver, gradient, counter=counter)
    torch.testing.assert_close(end, three() / math.e, rtol=1e-5, atol=0)
    assert len(calls) == counter.forward_evaluations
