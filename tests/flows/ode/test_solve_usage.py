"""Solves as programs use them, by every gradient: right, or refused with the gradient that does it."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from solve_cases import GRADIENTS, SOLVERS, T0, T1, USAGES, BatchNorm, Own, U, closed_form, refusal, start
from torch import Tensor, nn

from replications.flows.density.cnf import CNF
from replications.flows.density.priors import StandardNormal
from replications.flows.errors import RequestError
from replications.flows.fields.mlp import MlpField
from replications.flows.ode import integrate
from replications.flows.ode.block import ODEBlock
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver, solve, trajectory
from replications.flows.ode.step import compiled_steps

BY_GRADIENT = pytest.mark.parametrize("gradient", GRADIENTS)
BY_SOLVER = pytest.mark.parametrize("kind", SOLVERS)
LATE, EARLY = math.sin(T1), math.sin(T0)


def u() -> Tensor:
    return torch.tensor(U, dtype=torch.float64)


def close(kind: str) -> dict[str, float]:
    return {"rtol": 1e-8 if kind == "adaptive" else 1e-5, "atol": 1e-12}


# --- derivatives of derivatives, transforms ---


@BY_GRADIENT
@BY_SOLVER
def test_a_gradient_of_a_gradient(gradient: str, kind: str) -> None:
    """With s = sin t1 - sin t0, y(t1) = y exp(s sin u): the derivatives of sum (dL/dy)^2, L = sum y(t1)^2 / 2."""
    field, y = Own(u()), start().requires_grad_()
    end = solve(field, y, T0, T1, SOLVERS[kind], gradient)

    def twice() -> tuple[Tensor, ...]:
        (first,) = torch.autograd.grad(end.square().sum() / 2, y, create_graph=True)
        return torch.autograd.grad(first.square().sum(), (y, field.u))

    if message := refusal(USAGES["the gradient of a gradient"], gradient, kind):
        with pytest.raises(RequestError, match=message):
            twice()
        return
    by_y, by_u = twice()
    x, v, s = start().requires_grad_(), u().requires_grad_(), LATE - EARLY
    exact = (x * torch.exp(2 * s * torch.sin(v))).square().sum()
    exact_y, exact_u = torch.autograd.grad(exact, (x, v))
    torch.testing.assert_close(by_y, exact_y, **close(kind))
    torch.testing.assert_close(by_u, exact_u, **close(kind))


@pytest.mark.parametrize("gradient", ["checkpoint", "tape"])
def test_a_gradient_of_a_gradient_where_the_start_depends_on_the_field(gradient: str) -> None:
    """Two solves one after the other by one field: what leads through the start is not counted twice."""
    field, y = Own(u()), start()
    middle = solve(field, y, T0, 0.6, SOLVERS["adaptive"], gradient)
    end = solve(field, middle, 0.6, T1, SOLVERS["adaptive"], gradient)
    (first,) = torch.autograd.grad(end.sum(), field.u, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), field.u)
    v = u().requires_grad_()
    (exact,) = torch.autograd.grad(closed_form(y, v).sum(), v, create_graph=True)
    torch.testing.assert_close(first, exact, rtol=1e-8, atol=0)
    torch.testing.assert_close(second, torch.autograd.grad(exact.sum(), v)[0], rtol=1e-8, atol=0)


def test_a_third_derivative_is_refused_by_checkpoint() -> None:
    y = start().requires_grad_()
    end = solve(Own(u()), y, T0, T1, SOLVERS["fixed"])
    (first,) = torch.autograd.grad(end.square().sum(), y, create_graph=True)
    with pytest.raises(RequestError, match="gradient='backprop'"):
        torch.autograd.grad(first.square().sum(), y, create_graph=True)


@BY_GRADIENT
@BY_SOLVER
def test_a_gradient_taken_again(gradient: str, kind: str) -> None:
    y, field = start().requires_grad_(), Own(u())
    loss = solve(field, y, T0, T1, SOLVERS[kind], gradient).sum()
    once = torch.autograd.grad(loss, (y, field.u), retain_graph=True)
    again = torch.autograd.grad(loss, (y, field.u))
    for a, b in zip(once, again, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


TRANSFORMS: dict[str, Callable[[Callable[[Tensor], Tensor]], Tensor]] = {
    "jacrev": lambda f: torch.func.jacrev(lambda y: f(y).sum(0))(start()),
    "jacfwd": lambda f: torch.func.jacfwd(lambda y: f(y).sum(0))(start()),
    "grad": lambda f: torch.func.grad(lambda y: f(y).sum())(start()),
    "vmap": lambda f: torch.func.vmap(f)(start()),
}


@BY_GRADIENT
@BY_SOLVER
@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.filterwarnings("ignore:.*jit.script:DeprecationWarning")  # of torch itself, on the first use
def test_transforms_of_torch_func(name: str, gradient: str, kind: str) -> None:
    field = Own(u())

    def end(y: Tensor) -> Tensor:
        return solve(field, y, T0, T1, SOLVERS[kind], gradient)

    (usage,) = (refused for title, refused in USAGES.items() if f"`{name}`" in title)
    if message := refusal(usage, gradient, kind):
        with pytest.raises(RequestError, match=message):
            TRANSFORMS[name](end)
    else:
        expected = TRANSFORMS[name](lambda y: closed_form(y, u()))
        torch.testing.assert_close(TRANSFORMS[name](end).detach(), expected, **close(kind))


def test_transforms_of_other_solves_are_refused() -> None:
    with pytest.raises(RequestError, match="fixed steps"):
        TRANSFORMS["jacrev"](
            lambda y: solve(Own(u()), y, T0, T1, Solver("explicit_adams", steps=9), "backprop")
        )
    with pytest.raises(RequestError, match="solve from time to time"):
        TRANSFORMS["jacrev"](lambda y: trajectory(Own(u()), y, torch.tensor([T0, T1]))[-1])


# --- modes ---


@BY_GRADIENT
@BY_SOLVER
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradient(gradient: str, kind: str, mode: Callable[[], Any]) -> None:
    with mode():
        end = solve(Own(u()), start(), T0, T1, SOLVERS[kind], gradient)
    assert not end.requires_grad
    torch.testing.assert_close(end, closed_form(start(), u()), **close(kind))


@BY_GRADIENT
@BY_SOLVER
def test_a_state_made_under_inference_mode(gradient: str, kind: str) -> None:
    field = Own(u())
    with torch.inference_mode():
        y = start()
    end = solve(field, y, T0, T1, SOLVERS[kind], gradient)
    (slope,) = torch.autograd.grad(end.sum(), field.u)
    v = u().requires_grad_()
    (exact,) = torch.autograd.grad(closed_form(start(), v).sum(), v)
    torch.testing.assert_close(slope, exact, rtol=1e-5, atol=0)


class Halved(nn.Module):
    """dy/dt = W y, whose product torch.autocast takes in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[0.30103, -0.7], [0.6, 0.123456]]))
        self.seen: set[torch.dtype] = set()

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        out: Tensor = self.layer(y)
        self.seen.add(out.dtype)
        return out


@BY_GRADIENT
@BY_SOLVER
@pytest.mark.parametrize("inside", [True, False])
def test_autocast(gradient: str, kind: str, inside: bool) -> None:
    """A backward pass meets the precision of the solve, whether it is inside the context or outside."""
    field, y = Halved(), start().float().requires_grad_()
    solver = SOLVERS["fixed"] if kind == "fixed" else Solver("dopri5", 1e-2, 1e-2)
    with torch.autocast("cpu", torch.bfloat16):
        end = solve(field, y, T0, T1, solver, gradient)
        if inside:
            by_y, by_w = torch.autograd.grad(end.sum(), (y, field.layer.weight))
    if not inside:
        by_y, by_w = torch.autograd.grad(end.sum(), (y, field.layer.weight))
    assert field.seen == {torch.bfloat16}
    assert end.dtype == by_y.dtype == by_w.dtype == torch.float32
    exact = torch.linalg.matrix_exp((T1 - T0) * field.layer.weight.detach().double())
    torch.testing.assert_close(end.detach(), (start() @ exact.T).float(), rtol=0.02, atol=0.02)
    torch.testing.assert_close(by_y, (torch.ones(3, 2).double() @ exact).float(), rtol=0.02, atol=0.02)
    weight = field.layer.weight.detach().double().requires_grad_()
    (exact_w,) = torch.autograd.grad((start() @ torch.linalg.matrix_exp((T1 - T0) * weight).T).sum(), weight)
    torch.testing.assert_close(by_w, exact_w.float(), rtol=0.03, atol=0.03)


@BY_GRADIENT
@BY_SOLVER
def test_a_backward_pass_under_another_autocast_than_the_solve(gradient: str, kind: str) -> None:
    field, y = Halved(), start().float()
    solver = SOLVERS["fixed"] if kind == "fixed" else Solver("dopri5", 1e-2, 1e-2)
    end = solve(field, y, T0, T1, solver, gradient)
    with torch.autocast("cpu", torch.bfloat16):
        end.sum().backward()
    assert field.seen == {torch.float32}


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint", "tape", "auto"])
@BY_SOLVER
def test_what_a_field_remembers_is_not_remembered_twice(gradient: str, kind: str) -> None:
    """A backward pass leaves the averages of a batch norm as the solve did, though it runs the steps again."""
    field, y = BatchNorm(u()), start().requires_grad_()
    end = solve(
        field, y, T0, T1, SOLVERS["fixed"] if kind == "fixed" else Solver("dopri5", 1e-2, 1e-2), gradient
    )
    average, seen = field.norm.running_mean.clone(), int(field.norm.num_batches_tracked)
    assert seen > 5
    (first,) = torch.autograd.grad(end.square().sum(), y, create_graph=True)
    first.sum().backward()
    assert torch.equal(field.norm.running_mean, average)
    assert field.norm.num_batches_tracked == seen


# --- copies, errors ---


@BY_GRADIENT
def test_copies_and_pickles(gradient: str) -> None:
    block = ODEBlock(MlpField(2, (4,), torch.Generator().manual_seed(0)).double(), SOLVERS["fixed"], gradient)
    flow = CNF(MlpField(2, (4,), torch.Generator().manual_seed(0)), StandardNormal(2)).double()
    block(start()).sum().backward()
    flow.log_prob(start()).sum().backward()
    for model, value in ((block, block(start())), (flow, flow.log_prob(start()))):
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert twin.counter is not model.counter
            assert twin.counter.forward_evaluations == model.counter.forward_evaluations
            assert torch.equal(twin(start()) if model is block else twin.log_prob(start()), value)
            assert twin.counter.forward_evaluations > model.counter.forward_evaluations


class Fails(Own):
    """A field that fails from some evaluation on."""

    def __init__(self, after: int) -> None:
        super().__init__(u())
        self.left = after

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise LookupError("my own")
        return super().forward(t, y)


@BY_GRADIENT
@BY_SOLVER
def test_a_field_that_fails_on_the_way(gradient: str, kind: str) -> None:
    """Its own error comes through, forward and backward, and the next solve is none the worse."""
    field, counter = Fails(after=7), Counter()
    with pytest.raises(LookupError, match="my own"):
        solve(field, start(), T0, T1, SOLVERS[kind], gradient, counter=counter)
    assert 6 <= counter.forward_evaluations <= 12
    field.left = 10**6
    end = solve(field, start(), T0, T1, SOLVERS[kind], gradient)
    torch.testing.assert_close(end.detach(), closed_form(start(), u()), **close(kind))
    if gradient in ("adjoint", "checkpoint"):
        field.left = 3
        with pytest.raises(LookupError, match="my own"):
            end.sum().backward()
        field.left = 10**6
    assert (
        not torch.is_grad_enabled() or solve(Own(u()), start(), T0, T1, SOLVERS[kind], gradient).requires_grad
    )


class FailsLate(Own):
    """A field that fails by a value, which a compiled step can't look at."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        if t > 0.6:
            raise LookupError("my own")
        return super().forward(t, y)


class FailsAtOnce(Own):
    """A field that always fails."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        raise LookupError("my own")


@BY_SOLVER
@pytest.mark.parametrize("differentiate", [True, False])
def test_a_field_that_fails_in_a_compiled_solve(
    kind: str, differentiate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.compiler.reset()
    monkeypatch.setattr(integrate, "compiled_steps", lambda: compiled_steps("aot_eager"))
    with torch.set_grad_enabled(differentiate):
        with pytest.raises(LookupError, match="my own"):
            solve(FailsAtOnce(u()), start(), T0, T1, SOLVERS[kind], compiled=True)
        with pytest.raises((LookupError, RequestError), match=r"my own|compiled=False"):
            solve(FailsLate(u()), start(), T0, T1, SOLVERS[kind], compiled=True)
        end = solve(Own(u()), start(), T0, T1, SOLVERS[kind], compiled=True)
    torch.testing.assert_close(end.detach(), closed_form(start(), u()), **close(kind))


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_forward_mode_is_refused_and_has_its_mend(gradient: str) -> None:
    def end(y: Tensor) -> Tensor:
        return solve(lambda t, y: -y.square(), y, 0.0, 1.0, Solver("rk4", steps=20), gradient)

    y = torch.tensor([1.0], dtype=torch.float64)
    with torch.autograd.forward_ad.dual_level(), pytest.raises(RequestError, match=r"torch\.func\.jvp"):
        end(torch.autograd.forward_ad.make_dual(y, torch.ones_like(y)))
    if gradient == "backprop":
        tangent = torch.func.jvp(end, (y,), (torch.ones_like(y),))[1]
        torch.testing.assert_close(tangent, 1 / (1 + y).square(), rtol=1e-6, atol=0)  # of y / (1 + y t)
