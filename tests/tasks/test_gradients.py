"""Gradients as one vector, and the distance between two."""

import pytest
import torch

from replications.tasks.gradients import flat_gradient, relative_error


def test_a_flat_gradient_holds_all_parameters_in_their_order() -> None:
    a, b = (torch.tensor(v, requires_grad=True) for v in ([[1.0, 2.0]], [3.0]))
    loss = (a.square().sum() + 5 * b).sum()
    assert flat_gradient(loss, [a, b]).tolist() == [2.0, 4.0, 5.0]
    assert a.grad is None


def test_a_relative_error_is_in_units_of_the_exact_one() -> None:
    exact, found = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0])
    assert relative_error(found, exact) == pytest.approx(1 / 5)
    assert relative_error(exact, found) == pytest.approx(1 / 18**0.5)
    assert relative_error(exact, exact) == 0
