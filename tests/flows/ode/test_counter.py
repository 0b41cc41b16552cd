"""Evaluations of a field are counted exactly, forward and backward apart."""

import collections

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn
from torchdiffeq import odeint, odeint_adjoint

from benchmarks.counting import Counting
from replications.flows.ode import sources
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver, solve, trajectory


class Oscillator(nn.Module):
    """dy/dt = A y, and how often it was really called."""

    def __init__(self) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.tensor([[-0.1, 2.0], [-2.0, -0.1]], dtype=torch.float64))
        self.calls = 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return y @ self.A.T


def start() -> Tensor:
    return torch.tensor([[2.0, 0.0]], dtype=torch.float64)


STAGES = {"euler": 1, "midpoint": 2, "heun2": 2, "heun3": 3, "rk4": 4}


@pytest.mark.parametrize("method", STAGES)
@pytest.mark.parametrize("gradient", ["backprop", "adjoint", "checkpoint", "tape"])
def test_every_call_of_a_step_is_counted_on_its_side(
    method: str, gradient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_solves", collections.Counter())  # a first solve is checked
    field, counter, stages = Oscillator(), Counter(), STAGES[method]
    y = solve(field, start(), 0.0, 1.0, Solver(method, steps=5), gradient, counter=counter)
    assert (counter.forward_evaluations, counter.backward_evaluations) == (5 * stages, 0)
    ahead = int(
        gradient == "adjoint"
    )  # an evaluation that shows what the field depends on is not of the method
    assert field.calls == 5 * stages + ahead
    y.sum().backward()
    again = 5 * stages if gradient in ("adjoint", "checkpoint") else 0
    assert (counter.forward_evaluations, counter.backward_evaluations) == (5 * stages, again)
    repeated = 2 * ahead  # the last and the first evaluation, compared with what they gave
    assert field.calls == 5 * stages + ahead + again + repeated
    counter.reset()
    assert (counter.forward_evaluations, counter.backward_evaluations) == (0, 0)


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"])
def test_adaptive_steps_count_what_torchdiffeq_calls(method: str) -> None:
    field, counter = Oscillator(), Counter()
    with torch.no_grad():
        solve(field, start(), 0.0, 3.0, Solver(method, 1e-4, 1e-4), counter=counter)
    assert counter.forward_evaluations == field.calls
    theirs = Counting(Oscillator())
    times = torch.tensor([0.0, 3.0], dtype=torch.float64)
    odeint(theirs, start(), times, method=method, rtol=1e-4, atol=1e-4, options={"step_t": times[1:]})
    assert counter.forward_evaluations == theirs.counter.forward_evaluations


def test_a_solve_without_gradient_and_a_trajectory_count_too() -> None:
    field, counter = Oscillator(), Counter()
    with torch.no_grad():
        solve(field, start(), 0.0, 1.0, Solver("midpoint", steps=3), counter=counter)
    trajectory(field, start(), torch.linspace(0, 1, 5), Solver("rk4"), counter)
    assert counter.forward_evaluations == field.calls == 3 * 2 + 4 * 4


def test_steps_are_counted_by_what_is_kept_of_them() -> None:
    field, counter, solver = Oscillator(), Counter(), Solver("midpoint", steps=3)
    for gradient in ("tape", "checkpoint", "tape", "adjoint"):
        solve(field, start(), 0.0, 1.0, solver, gradient, counter=counter)
    assert (counter.taped, counter.checkpointed) == (6, 3)
    counter.reset()
    assert (counter.taped, counter.checkpointed) == (0, 0)


def test_the_adjoint_of_torchdiffeq_is_backward() -> None:
    counting = Counting(Oscillator())
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    y = odeint_adjoint(counting, start(), t, method="rk4")
    counter = counting.counter
    assert (counter.forward_evaluations, counter.backward_evaluations) == (40, 0)
    y[-1].sum().backward()
    assert (counter.forward_evaluations, counter.backward_evaluations) == (40, 40)


def test_it_agrees_with_scipys_own_count() -> None:
    counter = Counter()

    def decay(t: float, y: np.ndarray) -> np.ndarray:
        counter.count()
        return -y

    assert counter.forward_evaluations == 0
    assert solve_ivp(decay, (0, 5), [1.0], method="RK45").nfev == counter.forward_evaluations > 10
