"""Methods to get a divergence against autograd, their operations against torch's count, an estimate's variance."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from replications.flows.fields.mlp import MlpField
from replications.tasks.trace.methods import adjoint_product, by_vjp, trace_methods
from replications.tasks.trace.variance import estimate_variance, jacobian

T = torch.tensor(0.5, dtype=torch.float64)
PROBES = (1, 3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def mlp(d: int, hidden: tuple[int, ...]) -> MlpField:
    return MlpField(d, hidden, generator(), "concatsquash").double()


def full_jacobians(field: nn.Module, x: Tensor) -> Tensor:
    """df/dx of each state, by reverse mode."""
    return torch.stack([torch.autograd.functional.jacobian(lambda z: field(T, z[None])[0], one) for one in x])


HIDDEN = {1: (7,), 2: (6, 5), 3: (6, 5, 7)}


@pytest.mark.parametrize("layers", HIDDEN)
def test_every_method_gives_its_divergence(layers: int) -> None:
    field, x, eps = mlp(4, HIDDEN[layers]), normal(5, 4), normal(3, 5, 4, seed=2)
    full = full_jacobians(field, x)
    found = {name: method.work(field, T, x, eps) for name, method in trace_methods(layers, PROBES).items()}
    torch.testing.assert_close(found.pop("field"), field(T, x), rtol=0, atol=0)
    products = torch.einsum("kbi,bij,kbj->kb", eps, full, eps)
    expected = {name: full.diagonal(dim1=1, dim2=2).sum(1) for name in ("exact", "loop", "closed form")}
    expected |= {f"hutchinson-{k}": products[:k].mean(0) for k in PROBES} | {"vjp": products[0]}
    found.pop("vjp, parameters")
    assert set(found) == set(expected) - ({"closed form"} if layers == 3 else set())
    for name, result in found.items():
        f, divergence = result[:2]
        torch.testing.assert_close(f, field(T, x), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(divergence, expected[name], rtol=1e-12, atol=1e-12)


def test_products_with_the_jacobian_from_the_left() -> None:
    field, x, a = mlp(4, (6, 5)), normal(5, 4), normal(5, 4, seed=2)
    f, along, *shares = adjoint_product(field, T, x, a)
    torch.testing.assert_close(along, torch.einsum("bi,bij->bj", a, full_jacobians(field, x)))
    torch.testing.assert_close(f, field(T, x))
    expected = torch.autograd.grad((field(T, x) * a).sum(), list(field.parameters()))
    for share, other in zip(shares, expected, strict=True):
        torch.testing.assert_close(share, other)
    assert not by_vjp(field, T, x, a)[1].requires_grad


@pytest.mark.parametrize("layers", HIDDEN)
def test_operations_are_those_that_torch_counts(layers: int) -> None:
    d, batch, hidden = 4, 5, HIDDEN[layers]
    field, x, eps = mlp(d, hidden), normal(batch, d), normal(3, batch, d, seed=2)
    for name, method in trace_methods(layers, PROBES).items():
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            counter.mod_tracker.__exit__(
                None, None, None
            )  # counts by module, which autograd.grad does not allow
            method.work(field, T, x, eps)
        stated = method.flops((d, *hidden, d), batch)
        # One hidden layer's closed form is a product with a vector, which torch does not count.
        uncounted = 2 * batch * hidden[0] if (name, layers) == ("closed form", 1) else 0
        assert counter.get_total_flops() == stated - uncounted, name


# Nodes and weights whose sums are the moments of the probes up to the fifth: both signs, and Gauss-Hermite's three.
SUMS = {
    "rademacher": ((-1.0, 1.0), (0.5, 0.5)),
    "gaussian": ((-math.sqrt(3), 0.0, math.sqrt(3)), (1 / 6, 2 / 3, 1 / 6)),
}


@pytest.mark.parametrize("kind", SUMS)
def test_closed_form_of_the_variance_is_the_exact_one(kind: str) -> None:
    d = 3
    nodes, weights = (torch.tensor(v, dtype=torch.float64) for v in SUMS[kind])
    eps = torch.stack([torch.stack(e) for e in itertools.product(nodes, repeat=d)])
    mass = torch.stack([torch.stack(w).prod() for w in itertools.product(weights, repeat=d)])
    j = normal(2, d, d)
    values = torch.einsum("ki,bij,kj->kb", eps, j, eps)
    mean = mass @ values
    torch.testing.assert_close(mean, j.diagonal(dim1=1, dim2=2).sum(1))
    variance = mass @ (values - mean).square()
    assert estimate_variance(j, kind) == pytest.approx(variance.mean().item(), rel=1e-12)


def test_jacobian_by_unit_vectors() -> None:
    field, x = mlp(4, (6, 5)), normal(5, 4)
    torch.testing.assert_close(jacobian(field, T, x), full_jacobians(field, x), rtol=1e-12, atol=1e-12)
