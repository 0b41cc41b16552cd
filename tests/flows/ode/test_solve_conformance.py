"""Every gradient x solver x kind of field: the value is the closed form, the gradient that of finite differences.

What a gradient can not get right it refuses, by an error that names the mend.
"""

import functools
from pathlib import Path

import pytest
import torch
from solve_cases import (
    CASES,
    COMPILED,
    GRADIENTS,
    SOLVERS,
    T0,
    T1,
    Case,
    Overwrites,
    OverwritesData,
    Own,
    U,
    closed_form,
    refusal,
    start,
    table,
)
from torch import Tensor

from replications.flows.errors import RequestError
from replications.flows.ode import integrate
from replications.flows.ode.solve import Solver, solve
from replications.flows.ode.step import compiled_steps

LOOSE = Solver("dopri5", 0.3, 0.3)
"""For fields without a solution that steps could converge to."""
ADJOINT = {"fixed": 1e-5, "adaptive": 1e-7}
"""Relative error of a second solve."""


@pytest.fixture
def fast_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile to one graph without generating code, which takes a fraction of the time."""
    torch.compiler.reset()
    monkeypatch.setattr(integrate, "compiled_steps", lambda: compiled_steps("aot_eager"))


def solver_of(case: Case, kind: str) -> Solver:
    return SOLVERS[kind] if case.closed or kind == "fixed" else LOOSE


def state_of(name: str, y: Tensor) -> Tensor | tuple[Tensor, ...]:
    return (y, 0.5 * y[:1]) if name == "a state of two parts" else y


def loss_of(end: Tensor | tuple[Tensor, ...]) -> Tensor:
    parts = end if isinstance(end, tuple) else (end,)
    return sum(((k + 1) * part.square() / 2 + part).sum() for k, part in enumerate(parts))  # type: ignore[return-value]


def run(
    name: str, kind: str, gradient: str, u: Tensor, y: Tensor, compiled: bool = False
) -> tuple[Tensor | tuple[Tensor, ...], Tensor]:
    """Build the field anew and solve; return the end and the leaf u."""
    case = CASES[name]
    torch.manual_seed(5)
    made, leaf = case.build(u.clone())
    end = solve(made, state_of(name, y), T0, T1, solver_of(case, kind), gradient, compiled=compiled)
    return end, leaf


def gradients(name: str, kind: str, gradient: str, compiled: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Return the first part of the end, and the derivatives of the loss by u and by y(t0)."""
    y = start().requires_grad_()
    end, leaf = run(name, kind, gradient, torch.tensor(U, dtype=torch.float64), y, compiled)
    inputs = (y, leaf) if leaf.requires_grad else (y,)
    by_y, *by_u = torch.autograd.grad(loss_of(end), inputs)
    return (
        (end[0] if isinstance(end, tuple) else end).detach(),
        by_u[0] if by_u else torch.zeros_like(leaf),
        by_y,
    )


@functools.cache
def reference(name: str, kind: str) -> tuple[Tensor, Tensor]:
    """Return the derivatives by finite differences, of fourth order."""
    if not CASES[name].closed and kind == "adaptive":
        # Differences would see how the steps depend on u, which loose ones do; here backprop is what others must equal.
        return gradients(name, kind, "backprop")[1:]
    u, y, h = torch.tensor(U, dtype=torch.float64), start(), 1e-3

    def loss(u: Tensor, y: Tensor) -> float:
        with torch.no_grad():
            return float(loss_of(run(name, kind, "checkpoint", u, y)[0]))

    def slope(along_u: Tensor, along_y: Tensor) -> float:
        at = {k: loss(u + k * h * along_u, y + k * h * along_y) for k in (-2, -1, 1, 2)}
        return (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * h)

    by_u = [slope(e, 0 * y) for e in torch.eye(2, dtype=torch.float64)]
    units = torch.eye(6, dtype=torch.float64).reshape(6, 3, 2)
    by_y = [slope(0 * u, e) for e in units]
    return torch.tensor(by_u, dtype=torch.float64), torch.tensor(by_y, dtype=torch.float64).reshape(3, 2)


def check(name: str, kind: str, gradient: str, compiled: bool = False) -> None:
    case = CASES[name]
    message = refusal(case.refused, gradient, kind, compiled)
    if message is not None:
        with pytest.raises(RequestError, match=message):
            gradients(name, kind, gradient, compiled)
        return
    end, by_u, by_y = gradients(name, kind, gradient, compiled)
    if case.closed:
        exact = closed_form(start(), torch.tensor(U, dtype=torch.float64))
        torch.testing.assert_close(end, exact, rtol=1e-8 if kind == "adaptive" else 1e-6, atol=0)
    close = ADJOINT[kind] if gradient == "adjoint" else 1e-8
    expected_u, expected_y = reference(name, kind)
    if name == "the state alone":
        expected_u = torch.zeros_like(expected_u)  # which asks for no gradient
    torch.testing.assert_close(by_u, expected_u, rtol=close, atol=close)
    torch.testing.assert_close(by_y, expected_y, rtol=close, atol=close)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", SOLVERS)
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_right_or_refused(name: str, kind: str, gradient: str) -> None:
    check(name, kind, gradient)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.compiles])
@pytest.mark.parametrize("kind", SOLVERS)
@pytest.mark.parametrize("gradient", COMPILED)
@pytest.mark.usefixtures("fast_compiler")
def test_right_or_refused_compiled(name: str, kind: str, gradient: str) -> None:
    check(name, kind, gradient, compiled=True)


@pytest.mark.parametrize("kind", [Overwrites, OverwritesData])
@pytest.mark.usefixtures("fast_compiler")
def test_a_compiled_step_hands_the_field_a_copy_to_write_to(kind: type[Own]) -> None:
    u, y = torch.tensor(U, dtype=torch.float64), start()
    with torch.no_grad():
        end = solve(kind(u), y, T0, T1, Solver("rk4", steps=24), compiled=True)
    torch.testing.assert_close(end, closed_form(start(), u), rtol=1e-6, atol=0)
    assert torch.equal(y, start())


@pytest.mark.usefixtures("fast_compiler")
def test_a_parameter_beside_a_computed_buffer_does_not_hide_it_from_a_compiled_solve() -> None:
    class Both(Own):
        def __init__(self) -> None:
            super().__init__(torch.tensor(U, dtype=torch.float64))
            self.register_buffer("c", torch.sin(torch.ones(2, dtype=torch.float64, requires_grad=True)))

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return super().forward(t, y) + self.c

    with pytest.raises(
        RequestError, match="computed from others, of which a compiled step knows no gradient"
    ):
        solve(Both(), start(), T0, T1, SOLVERS["fixed"], compiled=True)


def test_the_table_tells_what_was_tested(tmp_path: Path) -> None:
    document = Path(__file__).parents[3] / "replications" / "flows" / "CONFORMANCE.md"
    text = document.read_text()
    before, mark, _ = text.partition("| | ")
    made = tmp_path / document.name
    made.write_text(f"{before}{mark and table()}\n")
    assert text == made.read_text(), f"replace {document} by {made}"
