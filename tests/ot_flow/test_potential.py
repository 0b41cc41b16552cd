"""The potential's closed forms against autograd, and what training and test need of its field."""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench.errors import UserError
from replications.flows.density.divergence import Divergence, Evaluation, exact
from replications.flows.density.regularizers import hjb, kinetic_half_sum
from replications.flows.errors import RequestError
from replications.ot_flow.potential import GradientField, Potential, soft_abs

SHAPES = [
    (dim, width, layers) for layers in (2, 3, 4, 5) for dim, width in ((1, 3), (2, 7), (12, 5), (43, 16))
]
T = torch.tensor(0.37, dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def potential(dim: int = 2, width: int = 7, layers: int = 3) -> Potential:
    """No parameter at its initial value, so that no term drops out."""
    phi = Potential(dim, width, layers, generator()).double()
    with torch.no_grad():
        for seed, parameter in enumerate(phi.parameters()):
            parameter.add_(0.3 * normal(*parameter.shape, seed=seed))
    return phi


def close(ours: Tensor, autograd: Tensor) -> None:
    """Agree to 1e-12 of the largest number."""
    assert autograd.abs().max() > 1e-3
    torch.testing.assert_close(ours, autograd, rtol=0, atol=1e-12 * float(autograd.abs().max().clamp(min=1)))


@pytest.mark.parametrize(("dim", "width", "layers"), SHAPES)
def test_gradient_and_trace_are_those_of_autograd(dim: int, width: int, layers: int) -> None:
    phi, x = potential(dim, width, layers), normal(5, dim)
    s = torch.cat([x, T.expand(5, 1)], 1).requires_grad_()
    whole = torch.stack([phi(row[-1], row[None, :-1])[0] for row in s])
    (slopes,) = torch.autograd.grad(whole.sum(), s)
    hessians = torch.stack(
        [torch.autograd.functional.hessian(lambda y: phi(T, y[None])[0], row) for row in x]
    )
    for short in (False, True, None):
        by_x, by_t, trace = phi.derivatives(T, x, short)
        close(by_x, slopes[:, :-1])
        close(by_t, slopes[:, -1])
        close(trace, hessians.diagonal(dim1=1, dim2=2).sum(1))
    for ours, again in zip(phi.gradient(T, x), (by_x, by_t)):
        assert torch.equal(ours, again)


@pytest.mark.parametrize("width", [3, 6])
@pytest.mark.parametrize("layers", [2, 3, 5])
def test_the_gradient_of_the_trace_is_that_of_autograds_trace(layers: int, width: int) -> None:
    """By columns of the Jacobian where the layers are wide, by Gram matrices where they are narrow."""
    field, x = GradientField(potential(4, width, layers)), normal(5, 4)
    mine = torch.autograd.grad(
        exact(field, T, x).divergence.sum(), list(field.parameters()), allow_unused=True
    )
    y = x.clone().requires_grad_()
    f = field(T, y)
    rows = [torch.autograd.grad(f[:, i].sum(), y, create_graph=True)[0][:, i] for i in range(4)]
    theirs = torch.autograd.grad(sum(rows).sum(), list(field.parameters()), allow_unused=True)
    for one, other in zip(mine, theirs):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_the_field_is_minus_the_gradient_and_its_divergence_minus_the_trace() -> None:
    phi, x = potential(), normal(6, 2)
    field, (by_x, by_t, trace) = GradientField(phi), phi.derivatives(T, x)
    at = exact(field, T, x)
    assert torch.equal(at.f, -by_x)
    assert torch.equal(field(T, x), -by_x)
    assert torch.equal(at.divergence, -trace)
    assert at.potential_t is not None
    assert torch.equal(at.potential_t, by_t)
    pushed = exact(field, T, x, frobenius=True)
    torch.testing.assert_close(pushed.divergence, at.divergence, rtol=1e-12, atol=1e-12)


def test_a_potential_that_solves_the_equation_has_no_hjb_residual() -> None:
    """Phi = |x|^2 / (2 (a - t)): dx/dt = -x / (a - t) leads straight to 0; with + dPhi/dt, as misprinted, it fails."""
    x, a = normal(5, 3), 1.8
    by_x, by_t = x / (a - T), x.square().sum(1) / (2 * (a - T) ** 2)
    at = Evaluation(-by_x, x[:, 0], potential_t=by_t)
    assert hjb(at).abs().max() < 1e-14
    torch.testing.assert_close(kinetic_half_sum(at), 0.5 * by_x.square().sum(1))
    torch.testing.assert_close(hjb(at._replace(potential_t=-by_t)), 2 * kinetic_half_sum(at))
    with pytest.raises(RequestError, match="gradient of a potential"):
        hjb(Evaluation(by_x, by_t))


def test_estimated_divergence_is_unbiased() -> None:
    field, x = GradientField(potential(3, 8, 2)), normal(1, 3)
    integration = Divergence("rademacher", probes=20_000)
    at = integration(field, T, x, integration.draw(x, generator()))
    many = x.repeat(2000, 1)
    one = integration(field, T, many, Divergence("rademacher").draw(many, generator(1)))
    error = one.divergence.std() / 20_000**0.5
    assert (at.divergence - exact(field, T, x).divergence).abs() < 4 * error


def test_no_state_of_a_batch_influences_another() -> None:
    phi, x = potential(layers=4), normal(6, 2)
    for whole, part in zip(phi.derivatives(T, x), phi.derivatives(T, x[2:4])):
        torch.testing.assert_close(whole[2:4], part, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("dim", "width"), [(40, 5), (5, 40)])
def test_the_trace_takes_the_way_of_fewer_operations(dim: int, width: int) -> None:
    phi, x = potential(dim, width, 3), normal(16, dim)
    counted = {}
    for short in (None, False, True):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            phi.derivatives(T, x, short)
        counted[short] = counter.get_total_flops()
    assert counted[None] == min(counted[False], counted[True])
    assert counted[False] != counted[True]


def test_large_arguments_stay_finite() -> None:
    z = torch.tensor([-1e4, -30.0, 0.0, 30.0, 1e4], requires_grad=True)
    value = soft_abs(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    torch.testing.assert_close(value, torch.tensor([1e4, 30.0, 0.6931472, 30.0, 1e4]))
    torch.testing.assert_close(slope, torch.tanh(z))


def test_initial_values_and_bad_input() -> None:
    phi = Potential(43, 256, 2, generator())
    assert sum(p.numel() for p in phi.parameters()) == 78_053
    assert phi.A.shape == (10, 44)
    assert bool((phi.w == 1).all())
    assert phi.b.abs().max() == phi.c == 0
    with pytest.raises(UserError, match="at least 2 layers"):
        Potential(2, 8, 1, generator())
