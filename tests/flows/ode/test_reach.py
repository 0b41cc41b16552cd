"""The modules that a field can reach, and their buffers, put back."""

import functools
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from replications.flows.errors import RequestError
from replications.flows.ode.counter import Counter
from replications.flows.ode.reach import LONGEST, MOST, modules_of
from replications.flows.ode.solve import Solver, solve

STEPS = Solver("rk4", steps=4)


class Counts(nn.Module):
    """A buffer that counts, and that the value depends on."""

    k: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("k", torch.zeros((), dtype=torch.float64))
        self.w = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.k += 1
        return -self.w * y * (1 + 1e-2 * self.k)


NET = Counts()


class Global(nn.Module):
    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return NET(t, y)


class Held:
    def __init__(self) -> None:
        self.nets = {"all": [NET] * 101}

    def method(self, t: Tensor, y: Tensor) -> Tensor:
        return self.nets["all"][100](t, y)


def of_default(t: Tensor, y: Tensor, net: nn.Module = NET) -> Tensor:
    return net(t, y)


FIELDS = {
    "a module that names a global": Global(),
    "a function of a global": lambda t, y: NET(t, y),
    "a nested function": lambda t, y: (lambda: NET(t, y))(),
    "a default": of_default,
    "a partial": functools.partial(of_default, net=NET),
    "a method of an object that is no module": Held().method,
    "inside another module": lambda t, y: nn.ModuleList([NET])[0](t, y),
}


def gradient(field: Any, way: str) -> tuple[float, float]:
    """Return dL/dw and the count."""
    with torch.no_grad():
        NET.k.zero_()
    NET.w.grad = None
    solve(field, torch.ones(3, dtype=torch.float64), 0.1, 1.0, STEPS, way).sum().backward()
    assert NET.w.grad is not None
    return float(NET.w.grad), float(NET.k)


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_a_buffer_is_put_back_wherever_its_module_is_found(field: Any) -> None:
    expected = gradient(field, "backprop")
    assert expected[1] == 16
    assert gradient(field, "checkpoint") == (pytest.approx(expected[0], rel=1e-12), 16)
    with pytest.raises(RequestError, match="changes its buffers"):
        gradient(field, "adjoint")


def test_what_can_not_be_looked_into_is_data() -> None:
    class Proxy:
        __slots__ = ("target",)

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __call__(self, t: Tensor, y: Tensor) -> Tensor:
            return y

    class Unfinished(nn.Module):
        def __init__(self) -> None:
            """Leave out what every module needs."""

    class Short(list[int]):
        def __len__(self) -> int:
            raise RuntimeError

    gone = weakref.proxy(Held())
    unfinished, itself = Unfinished(), [NET]
    itself.append(itself)  # type: ignore[arg-type]
    inside = (Proxy(), gone, Short(), unfinished, itself)

    def field(t: Tensor, y: Tensor, more: Any = inside) -> Tensor:
        return -y

    assert list(modules_of(field)) == [unfinished, NET]
    end = solve(field, torch.ones(2, requires_grad=True), 0.0, 1.0, STEPS)
    assert end.requires_grad


def test_much_data_is_not_searched() -> None:
    held = Held()
    held.nets = [NET] * LONGEST  # type: ignore[assignment]
    assert list(modules_of(held.method)) == [NET]
    held.nets.append(NET)  # type: ignore[attr-defined]
    assert list(modules_of(held.method)) == []
    deep: list[Any] = [NET]
    for _ in range(MOST):
        deep = [deep]
    assert list(modules_of(functools.partial(len, deep))) == []


def test_a_variable_that_is_not_assigned_yet_is_passed_over() -> None:
    def field(t: Tensor, y: Tensor) -> Tensor:
        return late(t, y)  # type: ignore[no-any-return]

    assert list(modules_of(field)) == []
    late = NET
    assert list(modules_of(field)) == [NET]


def test_sparse_and_lazy_buffers_are_no_fault() -> None:
    net = nn.Linear(2, 2, dtype=torch.float64)
    net.register_buffer("graph", torch.eye(3, dtype=torch.float64).to_sparse())
    lazy = nn.Sequential(nn.LazyBatchNorm1d(affine=False, dtype=torch.float64))
    y = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for field in (lambda t, y: net.graph @ net(y), lambda t, y: lazy(y)):
        ways = []
        for way in ("backprop", "checkpoint"):
            end = solve(field, y, 0.0, 1.0, STEPS, way)
            ways.append(torch.autograd.grad(end.square().sum(), y)[0])
        torch.testing.assert_close(*ways, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("way", ["backprop", "checkpoint", "tape", "adjoint"])
def test_the_first_evaluation_is_made_once_where_the_start_is_rounded(way: str) -> None:
    calls_made = []

    def field(t: Tensor, y: Tensor) -> Tensor:
        calls_made.append(float(t))
        return -y

    counter = Counter()
    with torch.no_grad():
        solve(field, torch.ones(3), 0.1, 1.0, gradient=way, counter=counter)
    assert len(calls_made) == counter.forward_evaluations
