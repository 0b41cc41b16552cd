"""Solves that can not end well, by name, with where they stopped and what they had spent."""

import math
import pickle

import pytest
import torch

from replications.flows.errors import RequestError
from replications.flows.fields.mlp import MlpField
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Diverged, NFEBudget, Solver, Underflow, solve

DIRECTIONS = pytest.mark.parametrize(("t0", "t1"), [(0.0, 1.0), (0.8, -0.5)])


def mlp():
    return MlpField(3, (8, 8), torch.Generator().manual_seed(0)).double()


def points():
    return torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("gradient", ["backprop", "adjoint", "checkpoint"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_blow_up(gradient, sign):
    """y' = sign y^2 from 1 leaves every bound at t = sign."""
    counter = Counter()
    y = torch.ones(3, dtype=torch.float64, requires_grad=True)
    with pytest.raises((Underflow, Diverged)) as failure:
        solve(lambda t, y: sign * y * y, y, 0.0, 2 * sign, Solver(), gradient, counter=counter)
    assert failure.value.last_t == pytest.approx(sign, abs=1e-3)
    assert failure.value.nfe == counter.forward_evaluations


def test_underflow():
    """|t - 1/2|^(-1/2) cos(1e9 t) can not be resolved: the step shrinks below what t resolves."""
    with pytest.raises(Underflow, match="too small to move t") as failure:
        solve(
            lambda t, y: torch.where(t < 0.5, 0.0, torch.cos(1e18 * t) * 1e12) + 0 * y,
            torch.zeros(1, dtype=torch.float64),
            0.0,
            1.0,
            Solver(rtol=1e-9, atol=1e-9),
        )
    assert failure.value.status == "underflow"
    assert failure.value.last_t == pytest.approx(0.5, abs=1e-2)


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_a_field_that_is_not_a_number(method):
    with pytest.raises(Diverged) as failure:
        solve(
            lambda t, y: torch.where(t < 0.5, y, math.nan),
            torch.ones(1),
            0.0,
            1.0,
            Solver(method, steps=9 if method == "rk4" else None),
        )
    assert failure.value.status == "diverged"
    assert failure.value.last_t is not None


@pytest.mark.parametrize("method", ["rk4", "dopri5", "scipy:BDF", "explicit_adams"])
@pytest.mark.parametrize("differentiate", [True, False])
def test_budget(method, differentiate):
    adaptive = method in ("dopri5", "scipy:BDF")
    solver = Solver(method, 1e-9, 1e-9, steps=None if adaptive else 20, max_nfe=20)
    field, counter = mlp(), Counter()
    gradient = "checkpoint" if method in ("rk4", "dopri5") else "adjoint"
    with pytest.raises(NFEBudget) as failure, torch.set_grad_enabled(differentiate):
        solve(field, points(), 0.0, 1.0, solver, gradient, counter=counter)
    assert failure.value.status == "nfe-budget"
    assert (
        16 <= counter.forward_evaluations == failure.value.nfe <= 20
    )  # steps that are kept are all or nothing
    assert 0 < failure.value.last_t <= 1


@pytest.mark.parametrize("gradient", ["adjoint", "checkpoint"])
def test_budget_is_of_the_forward_solve(gradient):
    counter, solver = Counter(), Solver("rk4", steps=4, max_nfe=16)
    solve(mlp(), points(), 0.0, 1.0, solver, gradient, counter=counter).sum().backward()
    assert (counter.forward_evaluations, counter.backward_evaluations) == (16, 16)


@DIRECTIONS
def test_failure_of_the_adjoint_solve(t0, t1):
    """x' = -x^3 forgets its start: run backward from an end that is not quite right, it leaves every bound."""
    sign = 1.0 if t1 > t0 else -1.0
    x = torch.tensor([1e6], dtype=torch.float64, requires_grad=True)
    end = solve(lambda t, x: -sign * x**3, x, t0, t1, Solver(rtol=1e-4, atol=1e-4), "adjoint")
    with pytest.raises((Underflow, Diverged)) as failure:
        end.sum().backward()
    assert min(t0, t1) < failure.value.last_t < max(t0, t1)


def test_a_stiff_solver_that_gives_up():
    with pytest.raises(Underflow, match="gave up"):
        solve(
            lambda t, y: (y[0] ** 2, y[1]),
            (torch.ones(1), torch.ones(1)),
            0.0,
            2.0,
            Solver("scipy:Radau", 1e-4, 1e-4),
        )


def test_failures_survive_a_process_boundary():
    error = pickle.loads(pickle.dumps(NFEBudget("too many", 0.5, 7)))
    assert (error.status, str(error), error.last_t, error.nfe) == ("nfe-budget", "too many", 0.5, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"solver": Solver("rk4")}, "say how many"),
        ({"gradient": "magic"}, "unknown gradient"),
        ({"solver": Solver("scipy:BDF"), "gradient": "backprop"}, "gradient='adjoint'"),
        ({"solver": Solver("explicit_adams", steps=9)}, "has no step of explicit_adams"),
        ({"solver": Solver(step_to_end=False)}, "steps to the end"),
        ({"gradient": "adjoint", "compiled": True}, "compiled"),
        ({"t1": torch.tensor(1.0, requires_grad=True)}, "detach"),
    ],
)
def test_faults_of_a_request(arguments, message):
    with pytest.raises(RequestError, match=message):
        solve(**{"field": mlp(), "state": points(), "t0": 0.0, "t1": 1.0} | arguments)


def test_a_field_that_loses_its_gradient_is_told_from_a_constant_one():
    y = points().requires_grad_()

    def detaches(t, y):
        return -t * y.detach()

    with pytest.raises(RequestError, match="has no gradient"):
        solve(detaches, y, 1.0, 2.0, Solver("euler", steps=1), "backprop")
    slope = torch.ones_like(y).detach()
    end = solve(lambda t, y: 3 * t * slope, y, 1.0, 2.0, Solver("euler", steps=1), "backprop")
    torch.testing.assert_close(end, y + 3)
