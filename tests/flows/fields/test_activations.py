"""The activations of an `MlpField` and the kernels of their slopes, once and twice differentiated; time as an input."""

import pytest
import torch
from torch import Tensor

from replications.flows.density.divergence import exact
from replications.flows.fields.mlp import ACTIVATIONS, MlpField
from replications.flows.fields.pushforward import SLOPES, push


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def test_every_activation_has_its_slope() -> None:
    assert set(ACTIVATIONS.values()) == set(SLOPES)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slope_and_curvature_are_the_activations_own(name: str) -> None:
    s, v = ACTIVATIONS[name], normal(50, seed=2)
    z = (3 * normal(50)).requires_grad_()
    ours = SLOPES[s](v, z, s(z))
    (slope,) = torch.autograd.grad(s(z).sum(), z, create_graph=True)
    torch.testing.assert_close(ours, v * slope, rtol=1e-12, atol=1e-12)
    if slope.requires_grad and name != "relu":
        curvatures = (torch.autograd.grad(y.sum(), z)[0] for y in (ours, v * slope))
        torch.testing.assert_close(*curvatures, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", ["silu", "selu"])
@pytest.mark.parametrize("time", ["input", "concat"])
@pytest.mark.parametrize("hidden", [(9,), (8, 7), (6, 5, 7)])
def test_products_and_trace_of_a_field(activation: str, time: str, hidden: tuple[int, ...]) -> None:
    field = MlpField(3, hidden, generator(), time, activation).double()
    t, x, v = torch.tensor(0.7).double(), normal(5, 3), normal(2, 5, 3, seed=2)
    full = torch.stack([torch.autograd.functional.jacobian(lambda y: field(t, y), row) for row in x])
    f, jv = push(field, t, x, v)
    torch.testing.assert_close(f, field(t, x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(jv, torch.einsum("bij,kbj->kbi", full, v), rtol=1e-12, atol=1e-12)
    trace = full.diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(exact(field, t, x).divergence, trace, rtol=1e-12, atol=1e-12)


def test_time_as_an_input_is_appended_to_the_state() -> None:
    field = MlpField(2, (8, 6), generator(), "input", "selu").double()
    x, t = normal(4, 2), torch.linspace(0, 1, 4, dtype=torch.float64)[:, None]
    first, second, last = field.layers
    h = torch.selu(torch.cat((x, t), 1) @ first.weight.T + first.bias)
    expected = last(torch.selu(second(h)))
    torch.testing.assert_close(field(t, x), expected, rtol=1e-12, atol=1e-12)
    each = torch.stack([field(t[i, 0], x[i]) for i in range(4)])
    torch.testing.assert_close(each, expected, rtol=1e-12, atol=1e-12)
    assert sum(p.numel() for p in field.parameters()) == (3 * 8 + 8) + (8 * 6 + 6) + (6 * 2 + 2)
