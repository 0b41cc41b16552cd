"""The accepted steps of an adaptive method are torchdiffeq's, and the control is the published one."""

import math

import pytest
import torch
from torch import Tensor
from torchdiffeq import odeint

from replications.flows.ode.controller import initial_step, next_step
from replications.flows.ode.counter import Counter
from replications.flows.ode.guards import GuardedField
from replications.flows.ode.integrate import Integrator
from replications.flows.ode.kept import Checkpoints
from replications.flows.ode.solver import ADAPTIVE, Solver
from replications.flows.ode.state import norm


def lotka(t: Tensor, y: Tensor) -> Tensor:
    a, b = y.unbind(-1)
    return torch.stack((1.5 * a - a * b, a * b - 3 * b), -1)


def pendulum(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((y[..., 1], -torch.sin(y[..., 0]) + 0.3 * torch.cos(2 * t)), -1)


def decay(t: Tensor, y: Tensor) -> Tensor:
    return -5.0 * y


PROBLEMS = {"lotka": lotka, "pendulum": pendulum, "decay": decay}


def start() -> Tensor:
    return torch.tensor([[1.0, 0.5], [2.0, 1.0]], dtype=torch.float64)


def ours(field, t0: float, t1: float, solver: Solver) -> list[float]:
    kept = Checkpoints()
    guarded = GuardedField(field, None, solver, t0, t1, Counter(), torch.device("cpu"))
    Integrator(guarded).adaptive(t0, start(), kept)
    return [step.t for step in kept.steps]


def theirs(field, t0: float, t1: float, solver: Solver) -> list[float]:
    accepted: list[float] = []

    def watched(t: Tensor, y: Tensor) -> Tensor:
        return field(t, y)

    watched.callback_accept_step = lambda t, y, dt: accepted.append(float(t))  # type: ignore[attr-defined]
    times = torch.tensor([t0, t1], dtype=torch.float64)
    odeint(
        watched,
        start(),
        times,
        rtol=solver.rtol,
        atol=solver.atol,
        method=solver.method,
        options={"step_t": times[1:]},
    )
    return accepted


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("method", ADAPTIVE)
@pytest.mark.parametrize(("t0", "t1"), [(0.0, 2.0), (1.5, -0.5)])
def test_accepted_steps_are_torchdiffeqs(problem: str, method: str, t0: float, t1: float) -> None:
    solver = Solver(method, 1e-7, 1e-7) if method == "dopri8" else Solver(method, 1e-5, 1e-6)
    mine, reference = ours(PROBLEMS[problem], t0, t1, solver), theirs(PROBLEMS[problem], t0, t1, solver)
    assert len(mine) > 2 or method == "dopri8"
    # The error estimate of dopri8 cancels down to its rounding, which depends on the order of a sum.
    close = 1e-3 if method == "dopri8" else 1e-6
    assert mine == pytest.approx(reference, rel=close, abs=close)


def rms(y: Tensor) -> Tensor:
    return y.square().mean().sqrt()


def first(field, y: Tensor, order: str = "dopri5", sign: float = 1.0) -> float:
    slope = field(0.0, y)
    return initial_step(field, Solver(order, 1e-2, 1e-2), 0.0, sign, y, slope, rms)


def test_the_first_step_follows_the_formula() -> None:
    y = torch.tensor([1.0, 1.0], dtype=torch.float64)
    # y' = -2 y: scale = 0.02, |y| = 50, |f| = 100, h_0 = 0.005; f changes by 2 * 2 h_0 y over h_0: d_2 = 200.
    expected = min(100 * 0.005, (0.01 / 200) ** (1 / 5))
    assert first(lambda t, y: -2 * y, y) == pytest.approx(expected, rel=1e-12)
    assert first(lambda t, y: 2 * y, y, sign=-1.0) == pytest.approx(-expected, rel=1e-12)
    assert first(lambda t, y: -2 * y, y, "bosh3") == pytest.approx(min(0.5, (0.01 / 200) ** (1 / 3)))
    assert first(lambda t, y: 0 * y, y) == pytest.approx(1e-6)  # nothing to tell from


def test_the_next_step_follows_the_formula_within_its_bounds() -> None:
    assert next_step("dopri5", 0.1, 0.5) == pytest.approx(0.1 * 0.9 * 0.5 ** (-1 / 5))
    assert next_step("dopri5", 0.1, 2.0) == pytest.approx(0.1 * 0.9 * 2.0 ** (-1 / 5))
    assert next_step("bosh3", -0.1, 2.0) == pytest.approx(-0.1 * 0.9 * 2.0 ** (-1 / 3))
    assert next_step("dopri5", 0.1, 0.0) == pytest.approx(1.0)
    assert next_step("dopri5", 0.1, 1e-30) == pytest.approx(1.0)  # at most tenfold
    assert next_step("dopri5", 0.1, 1e9) == pytest.approx(0.02)  # at least a fifth
    assert next_step("dopri5", 0.1, 0.99) == pytest.approx(0.1)  # a good step does not shrink
    assert math.isnan(next_step("dopri5", 0.1, math.nan))


def test_the_norm_is_the_largest_root_mean_square_of_the_parts():
    shapes = (torch.Size([2]), torch.Size([0]), torch.Size([1, 3]))
    y = torch.tensor([3.0, -5.0, 1.0, -1.0, 1.0])
    assert float(norm(y, shapes)) == pytest.approx(17**0.5)
    assert float(norm(y.flip(0), shapes)) == pytest.approx((35 / 3) ** 0.5)
    assert float(norm(y, None)) == pytest.approx((37 / 5) ** 0.5)
