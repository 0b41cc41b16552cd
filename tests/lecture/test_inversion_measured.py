"""Inversion, evaluations and hand-written adjoints on linear fields."""

import math

import pytest
import torch
from planted import Linear

from replications.flows.ode.solve import Solver
from replications.lecture.experiments.inversion.field import Dropout, NotesField
from replications.lecture.experiments.inversion.measured import (
    evaluations,
    gradient_error,
    input_gradient,
    largest_inversion_error,
)

TIGHT = Solver("dopri5", rtol=1e-9, atol=1e-9)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_dropout_keeps_the_mean_and_draws_anew() -> None:
    dropout = Dropout(0.25, generator())
    x = torch.ones(100_000, dtype=torch.float64)
    first, second = dropout(x), dropout(x)
    assert float(first.mean()) == pytest.approx(1, abs=0.01)
    assert float((first == 0).double().mean()) == pytest.approx(0.25, abs=0.01)
    assert not torch.equal(first, second)


def test_the_notes_field_is_two_hidden_layers_on_state_and_time() -> None:
    field = NotesField("relu", 2, 5, generator())
    h, t = torch.randn(3, 2, generator=generator(1), dtype=torch.float64), torch.tensor(0.3).double()
    first, second, last = (layer for layer in field.net if isinstance(layer, torch.nn.Linear))
    inputs = torch.cat((h, torch.full((3, 1), 0.3, dtype=torch.float32).double()), 1)
    expected = last(torch.relu(second(torch.relu(first(inputs)))))
    torch.testing.assert_close(field(t, h), expected)


def test_the_error_of_the_inverse_is_the_largest_component_of_all() -> None:
    """One Euler step there and one back leave h (1 - a^2)."""
    x = torch.tensor([[1.0, -2.0], [0.5, 0.0]], dtype=torch.float64)
    assert largest_inversion_error(Linear(0.5), x, Solver("euler", steps=1)) == pytest.approx(0.25 * 2)
    assert largest_inversion_error(Linear(0.5), x, TIGHT) < 1e-7


def test_smooth_flow_inverts_and_dropout_does_not() -> None:
    x = torch.randn(8, 2, dtype=torch.float64, generator=generator(1))
    solver = Solver("rk4", steps=20)
    errors = {
        k: largest_inversion_error(NotesField(k, 2, 32, generator()), x, solver)
        for k in ("smooth", "dropout")
    }
    assert errors["smooth"] < 1e-8
    assert errors["dropout"] > 1e-4


def test_evaluations_are_those_of_one_solve() -> None:
    x = torch.ones(3, 2, dtype=torch.float64)
    assert evaluations(Linear(0.5), x, Solver("midpoint", steps=7)) == 14
    assert evaluations(Linear(0.5), x, Solver("rk4", steps=7)) == 28


def test_adjoint_of_a_linear_field() -> None:
    """h' = A h: dL/dh(0) = g e^A; with both reversals the printed code gives g e^-A."""
    a = torch.tensor([[0.2, 1.0], [-0.7, -0.1]], dtype=torch.float64)
    g, end = torch.randn(2, 3, 2, dtype=torch.float64, generator=generator())
    flow = torch.linalg.matrix_exp(a)
    right, printed = (input_gradient(Linear(a), end, g, TIGHT, sign) for sign in (1, -1))
    torch.testing.assert_close(right, g @ flow, atol=1e-7, rtol=0)
    torch.testing.assert_close(printed, g @ torch.linalg.inv(flow), atol=1e-7, rtol=0)


def test_the_error_of_an_adjoint_is_relative_to_the_gradient_by_autograd() -> None:
    """Of h' = a h the right gradient is g e^a and the printed one g e^-a: an error of 1 - e^(-2 a)."""
    g, x = torch.randn(2, 3, 2, dtype=torch.float64, generator=generator())
    assert gradient_error(Linear(0.5), x, g, TIGHT, 1) < 1e-7
    assert gradient_error(Linear(0.5), x, g, TIGHT, -1) == pytest.approx(1 - math.exp(-1), rel=1e-7)
