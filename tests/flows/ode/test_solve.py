"""Solutions against closed forms, gradients against each other, failures by name, memory and evaluations by count."""

import math
import shutil

import pytest
import torch
from torch import nn
from torchdiffeq._impl.odeint import SOLVERS

from bench.measure.memory import peak_memory
from bench.stats import fit_line
from replications.flows.errors import RequestError
from replications.flows.fields.mlp import MlpField
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import NFEBudget, Solver, solve, trajectory
from replications.flows.ode.solver import ADAPTIVE, METHODS, ONE_STEP
from replications.flows.ode.step import compiled_steps
from replications.flows.ode.tableau import tableau

ORDERS = {"euler": 1, "midpoint": 2, "heun2": 2, "heun3": 3, "rk4": 4}
DIRECTIONS = pytest.mark.parametrize(("t0", "t1"), [(0.0, 1.0), (0.8, -0.5)])
EVERY_STEP = pytest.mark.parametrize("method", [*ONE_STEP, *ADAPTIVE])


def solver_of(method, steps=9, tolerance=1e-4):
    return (
        Solver(method, steps=steps) if method in ONE_STEP else Solver(method, rtol=tolerance, atol=tolerance)
    )


def mlp():
    """A field that bends enough to be hard work: three times torch's weights."""
    field = MlpField(3, (8, 8), torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for p in field.parameters():
            p.mul_(3)
    return field


def points(batch=4):
    return torch.randn(batch, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def growth(t, y):
    """y' = y cos t, so y(t) = y(s) exp(sin t - sin s)."""
    return y * torch.cos(t)


def grown(y, t0, t1):
    return y * math.exp(math.sin(t1) - math.sin(t0))


class Pair(nn.Module):
    """A matrix (B, 3) and a scalar each that change each other."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, t, state):
        x, s = state
        dx = self.net(t, x) + s[:, None]
        return dx, torch.sin(x).sum(1) - t * s


def gradients(field, state, t0, t1, solver, gradient, **integration):
    """Solve, and return the end and the gradient of a scalar of it by every state part and every parameter."""
    parts = state if isinstance(state, tuple) else (state,)
    parts = [part.clone().requires_grad_() for part in parts]
    end = solve(
        field, tuple(parts) if isinstance(state, tuple) else parts[0], t0, t1, solver, gradient, **integration
    )
    ends = end if isinstance(end, tuple) else (end,)
    loss = sum((part.pow(3) / 3 + part).sum() for part in ends)
    return [e.detach() for e in ends], torch.autograd.grad(loss, [*parts, *field.parameters()])


def relative_errors(values, exact):
    return [float((a - b).norm() / b.norm()) for a, b in zip(values, exact, strict=True)]


# --- solutions ---


@pytest.mark.parametrize("method", ONE_STEP)
def test_order_of_convergence(method):
    y = torch.tensor([1.0, -2.0], dtype=torch.float64)

    def error(steps, gradient):
        end = solve(growth, y.clone().requires_grad_(), 0.0, 1.0, Solver(method, steps=steps), gradient)
        return float((end - grown(y, 0, 1)).detach().abs().max())

    for gradient in ("backprop", "checkpoint"):
        order = math.log2(error(32, gradient) / error(64, gradient))
        assert order == pytest.approx(ORDERS[method], abs=0.2)


@pytest.mark.parametrize("method", ADAPTIVE)
@DIRECTIONS
def test_adaptive_error_follows_tolerance(method, t0, t1):
    y = torch.tensor([1.0, -2.0], dtype=torch.float64)
    loose, tight = (
        float((solve(growth, y, t0, t1, solver_of(method, tolerance=tol)) - grown(y, t0, t1)).abs().max())
        for tol in (1e-3, 1e-7)
    )
    assert tight < 1e-4  # fehlberg2 hands over a slope that is not f at its end point, and pays for it
    assert tight < loose / 10 or method == "dopri8"  # whose first step is exact enough for both


@EVERY_STEP
def test_tableau_is_consistent(method):
    """Each row of an explicit method sums to its node, and its weights to one."""
    t = tableau(method)
    assert [len(row) for row in t.stages] == list(range(len(t.nodes)))
    assert [sum(row) for row in t.stages] == pytest.approx(t.nodes, abs=1e-12)
    assert sum(t.weights) == pytest.approx(1, abs=1e-12)


def test_every_method_of_torchdiffeq_has_a_name():
    aliases = {"fixed_adams", "scipy_solver"}
    assert {m for m in METHODS if not m.startswith("scipy:")} == set(SOLVERS) - aliases


@EVERY_STEP
@DIRECTIONS
def test_checkpoint_solves_as_torchdiffeq_does(method, t0, t1):
    field, x, solver = mlp(), points(), solver_of(method)
    with torch.no_grad():
        expected = trajectory(field, x, x.new_tensor((t0, t1)), solver)[-1]
        free = solve(field, x, t0, t1, solver)
    # An error estimate near rounding moves the steps by about its own rounding: not the last digits, then.
    torch.testing.assert_close(free, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(solve(field, x, t0, t1, solver).detach(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", ["scipy:BDF", "scipy:Radau", "scipy:LSODA"])
def test_stiff_solver(method):
    """y' = -4000 (y - cos t) - sin t has y = cos t; explicit steps must be shorter than 8.3e-4 to be stable."""

    def stiff(t, y):
        return -4000 * (y - torch.cos(t)) - torch.sin(t)

    counter = Counter()
    y = torch.ones(2, dtype=torch.float64)
    end = solve(stiff, y, 0.0, 1.5, Solver(method, rtol=1e-6, atol=1e-8), counter=counter)
    torch.testing.assert_close(end, math.cos(1.5) * y, rtol=1e-4, atol=0)
    with pytest.raises(NFEBudget):
        solve(stiff, y, 0.0, 1.5, Solver("dopri5", 1e-6, 1e-8, max_nfe=5 * counter.forward_evaluations))


def test_equal_times_change_nothing():
    x = points()
    assert solve(mlp(), x, 0.3, 0.3) is x


@pytest.mark.parametrize("step_to_end", [True, False])
@DIRECTIONS
def test_stepping_to_the_end(step_to_end, t0, t1):
    """A solver that steps to the end evaluates nothing past t1; one that interpolates does, and both find y(t1)."""
    seen = []

    def field(t, y):
        seen.append(float(t))
        return growth(t, y)

    y = torch.ones(1, dtype=torch.float64)
    end = solve(field, y, t0, t1, Solver(rtol=1e-6, atol=1e-6, step_to_end=step_to_end))
    torch.testing.assert_close(end, grown(y, t0, t1), rtol=1e-4, atol=0)
    past = max((t - t1) * (1 if t1 > t0 else -1) for t in seen)
    assert (past <= 0) == step_to_end


@pytest.mark.parametrize("solver", [Solver(rtol=1e-9, atol=1e-9), Solver("rk4", steps=300), Solver("rk4")])
@pytest.mark.parametrize("times", [torch.linspace(0, 2, 81), torch.linspace(1, -1, 81)])
def test_trajectory(solver, times):
    y = (torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64))
    states = trajectory(lambda t, s: tuple(growth(t, p) for p in s), y, times, solver)
    factors = torch.exp(torch.sin(times.double()) - torch.sin(times[0].double()))
    for part, start in zip(states, y, strict=True):
        assert part.shape == (81, *start.shape)
        expected = factors.reshape(-1, *[1] * start.dim()) * start
        torch.testing.assert_close(part, expected, rtol=1e-7, atol=0)


def test_trajectory_has_steps_on_uneven_times():
    """No fixed step is longer than an equal share, and every time is a grid point: the order holds."""
    y, times = torch.ones(1, dtype=torch.float64), torch.tensor([0.0, 0.03, 0.5, 1.9, 2.0])

    def error(steps):
        return float((trajectory(growth, y, times, Solver("rk4", steps=steps))[-1] - grown(y, 0, 2)).abs())

    assert math.log2(error(40) / error(80)) == pytest.approx(4, abs=0.3)


def test_trajectory_is_differentiable():
    field, x = mlp(), points()
    times = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    states = trajectory(field, x, times, Solver("rk4", steps=10))
    through = torch.autograd.grad(states[-1].sum(), list(field.parameters()))
    direct = torch.autograd.grad(
        solve(field, x, 0, 1, Solver("rk4", steps=10)).sum(), list(field.parameters())
    )
    assert max(relative_errors(through, direct)) < 1e-10


# --- gradients ---


@EVERY_STEP
@DIRECTIONS
def test_checkpoint_equals_backprop(method, t0, t1):
    field, x, solver = mlp(), points(), solver_of(method)
    end, exact = gradients(field, x, t0, t1, solver, "backprop")
    ours, ours_grads = gradients(field, x, t0, t1, solver, "checkpoint")
    assert max(relative_errors(ours, end)) < 1e-10
    assert max(relative_errors(ours_grads, exact)) < 1e-10


@pytest.mark.parametrize("method", ["rk4", "dopri5", "adaptive_heun"])
@DIRECTIONS
def test_checkpoint_equals_backprop_on_tuples(method, t0, t1):
    field, x, solver = Pair(), points(), solver_of(method)
    state = (x, x[:, 0].clone())
    _, exact = gradients(field, state, t0, t1, solver, "backprop")
    _, ours = gradients(field, state, t0, t1, solver, "checkpoint")
    assert max(relative_errors(ours, exact)) < 1e-10


@DIRECTIONS
def test_backprop_through_a_fixed_method_is_the_derivative(t0, t1):
    """Finite differences, for what both exact gradients are compared with."""
    field, x = Pair(), points(batch=2)
    state = (x.requires_grad_(), x[:, 0].detach().clone().requires_grad_())
    torch.autograd.gradcheck(lambda *s: solve(field, s, t0, t1, Solver("heun3", steps=3)), state)


@DIRECTIONS
def test_adjoint_error_falls_with_tolerance(t0, t1):
    field, x = mlp(), points()
    _, exact = gradients(field, x, t0, t1, solver_of("dopri5", tolerance=1e-12), "backprop")
    errors = [
        max(
            relative_errors(
                gradients(field, x, t0, t1, solver_of("dopri5", tolerance=tol), "adjoint")[1], exact
            )
        )
        for tol in (1e-3, 1e-6, 1e-9)
    ]
    assert errors[0] > 10 * errors[1] > 100 * errors[2]
    assert errors[2] < 1e-7


@pytest.mark.parametrize(
    "second",
    [Solver("rk4", steps=40), Solver("scipy:LSODA", rtol=1e-8, atol=1e-8), Solver(step_to_end=False)],
)
@DIRECTIONS
def test_adjoint_with_a_solver_of_its_own(second, t0, t1):
    field, x, first = mlp(), points(), solver_of("dopri5", tolerance=1e-8)
    _, exact = gradients(field, x, t0, t1, first, "backprop")
    _, ours = gradients(field, x, t0, t1, first, "adjoint", adjoint_solver=second)
    assert max(relative_errors(ours, exact)) < 1e-3


@pytest.mark.parametrize("gradient", ["adjoint", "checkpoint"])
def test_a_function_gets_the_gradient_by_its_input(gradient):
    y = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    end = solve(growth, y, 0.0, 1.0, Solver(rtol=1e-9, atol=1e-9), gradient)
    (slope,) = torch.autograd.grad(end.sum(), y)
    torch.testing.assert_close(slope, grown(torch.ones_like(y), 0, 1), rtol=1e-7, atol=0)


def test_parameters_alone():
    """Neither a state without gradient nor a parameter without use or without gradient is in the way."""
    field = mlp()
    field.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
    frozen = field.layers[0].bias.requires_grad_(False)
    solve(field, points(), 0.0, 1.0).sum().backward()
    assert frozen.grad is None
    assert not field.unused.grad.any()
    assert all(p.grad.any() for p in field.layers.parameters() if p is not frozen)


def test_a_changed_parameter_is_noticed():
    field = mlp()
    end = solve(field, points(), 0.0, 1.0)
    with torch.no_grad():
        next(field.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        end.sum().backward()


# --- evaluations and memory ---


@EVERY_STEP
def test_evaluations(method):
    """A step run again costs its stages, less the slope that the step before hands over."""
    field, x, solver, counter = mlp(), points(), solver_of(method), Counter()
    gradients(field, x, 0.0, 1.0, solver, "backprop", counter=counter)
    forward = counter.forward_evaluations
    assert counter.backward_evaluations == 0
    counter.reset()
    gradients(field, x, 0.0, 1.0, solver, "checkpoint", counter=counter)
    assert counter.forward_evaluations == forward
    stages, hands_over = len(tableau(method).nodes), tableau(method).hands_over
    if method in ONE_STEP:
        assert counter.backward_evaluations == forward == 9 * stages
    else:  # two evaluations find the first step, and rejected steps are not run again
        assert 0 < counter.backward_evaluations <= forward - 1
        per_step = stages - 1  # the first slope is handed over, or the last stage is the next step's first
        assert (counter.backward_evaluations - hands_over) % per_step == 0


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_memory_of_a_step(method):
    """A step costs `checkpoint` and `adjoint` at most the state and 2 % of what it costs `backprop`."""
    field = MlpField(8, (64, 64), torch.Generator().manual_seed(0))
    x = torch.randn(32, 8, generator=torch.Generator().manual_seed(1))

    def peak(gradient, n):
        # y' = f on [0, n] with a tolerance that every step of the first guess meets is n steps for dopri5 too
        solver = Solver("rk4", steps=n) if method == "rk4" else Solver(rtol=1e-3, atol=1e-3)
        counter = Counter()
        with peak_memory() as measured:
            solve(field, x, 0.0, float(n), solver, gradient, counter=counter).sum().backward()
        return counter.forward_evaluations, measured.bytes

    def slope(gradient):
        evaluations, peaks = zip(*(peak(gradient, n) for n in (4, 12)), strict=True)
        stages = 4 if method == "rk4" else 6
        return fit_line([e / stages for e in evaluations], peaks).slope

    bound = x.nbytes + 0.02 * slope("backprop")
    assert 0.5 * x.nbytes < slope("checkpoint") <= bound
    assert slope("adjoint") <= bound
    assert slope("backprop") > 10 * x.nbytes


@pytest.mark.filterwarnings(
    "ignore:.*script_method:DeprecationWarning"
)  # of torch's own, on the first import
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_compiled_equals_eager():
    field, x, solver, counter = mlp(), points(), Solver("heun2", steps=6), Counter()
    end, exact = gradients(field, x, 0.0, 1.0, solver, "checkpoint")
    ours, ours_grads = gradients(field, x, 0.0, 1.0, solver, "checkpoint", compiled=True, counter=counter)
    assert (counter.forward_evaluations, counter.backward_evaluations) == (12, 12)
    assert max(relative_errors(ours, end)) < 1e-12
    assert max(relative_errors(ours_grads, exact)) < 1e-10


def test_a_field_that_is_not_one_graph_is_not_compiled():
    def breaks(t, y):
        torch._dynamo.graph_break()
        return -y

    y, times, h = points(), torch.zeros(1), torch.tensor(0.1)
    with pytest.raises(RequestError, match="make the field one graph"):
        compiled_steps("eager").advance(breaks, None, "euler", times, h, y)
