"""Planar flows, continuous and in layers, each way round."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from replications.flows.density.cnf import CNF
from replications.flows.density.divergence import exact
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.fields.pushforward import Pushable, push
from replications.flows.ode.solve import Solver
from replications.neural_ode.experiments.planar_cnf.inverted import Inverted
from replications.neural_ode.experiments.planar_cnf.model import build
from replications.neural_ode.planar import PlanarField, PlanarLayers, pass_layer, planar_root

TIGHT = Integration(Solver(rtol=1e-8, atol=1e-8))
SMOOTH = Integration(TIGHT.solver, gradient="backprop")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def field(units: int = 8, dim: int = 2, seed: int = 0) -> PlanarField:
    """A field far enough from zero that an error shows."""
    made = PlanarField(dim, units, 4, generator(seed)).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter *= 3
    return made


def layers(count: int = 6, dim: int = 2) -> PlanarLayers:
    made = PlanarLayers(dim, count, StandardNormal(dim), generator()).double()
    with torch.no_grad():
        for seed, parameter in enumerate(made.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=seed))
    return made


def continuous() -> CNF:
    return CNF(field(), StandardNormal(2), TIGHT)


FLOWS: dict[str, Callable[[], Flow]] = {
    "continuous": continuous,
    "layers": layers,
    "continuous, inverted": lambda: Inverted(continuous()),
    "layers, inverted": lambda: Inverted(layers()),
}


@pytest.fixture(params=FLOWS)
def flow(request: pytest.FixtureRequest) -> Flow:
    return FLOWS[request.param]()


# -- both ways; what every flow has to satisfy is in tests/flows/test_conformance.py


@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_log_determinant_is_that_of_the_full_jacobian(flow: Flow, direction: str) -> None:
    x = normal(6, 2)
    carry = getattr(flow, direction)
    jacobian = torch.autograd.functional.jacobian(lambda y: carry(y, SMOOTH).sum(0), x).transpose(0, 1)
    expected = torch.linalg.slogdet(jacobian).logabsdet
    delta = flow.path(x).delta if direction == "encode" else -flow.path(flow.decode(x)).delta
    assert delta.abs().max() > 0.1
    torch.testing.assert_close(delta, expected, rtol=1e-5, atol=1e-6)


def test_gradient_is_that_of_finite_differences_for_every_parameter(flow: Flow) -> None:
    x, h = normal(16, 2), 1e-6
    flow.log_prob(x).mean().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.view(-1)[0] += sign * h
                values.append(flow.log_prob(x).mean().item())
                parameter.view(-1)[0] -= sign * h
        slope = (values[0] - values[1]) / (2 * h)
        assert parameter.grad.view(-1)[0].item() == pytest.approx(slope, rel=1e-3, abs=2e-4), name


# -- the continuous flow ------------------------------------------------------------------------------------


def jacobians(f: PlanarField, t: Tensor, z: Tensor) -> Tensor:
    """Return df/dz `(B, D, D)` by reverse-mode autograd."""
    return torch.autograd.functional.jacobian(lambda y: f(t, y).sum(0), z).transpose(0, 1)


@pytest.mark.parametrize(("units", "dim"), [(1, 2), (8, 2), (32, 3)])
def test_closed_forms_are_autograds(units: int, dim: int) -> None:
    f, t, z, v = field(units, dim), torch.tensor(0.3).double(), normal(20, dim), normal(4, 20, dim, seed=2)
    jacobian = jacobians(f, t, z)
    slope, divergence, *_ = f.divergence(t, z)
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(slope, f(t, z), **close)
    torch.testing.assert_close(divergence, jacobian.diagonal(dim1=1, dim2=2).sum(1), **close)
    assert isinstance(f, Pushable)
    torch.testing.assert_close(push(f, t, z, v)[1], torch.einsum("bij,kbj->kbi", jacobian, v), **close)
    at = exact(f, t, z, frobenius=True)
    torch.testing.assert_close(at.divergence, divergence, **close)
    torch.testing.assert_close(at.frobenius, jacobian.square().sum((1, 2)), **close)


def test_one_unit_is_the_formula_of_the_paper() -> None:
    f, t, z = field(units=1), torch.tensor(0.7).double(), normal(20, 2)
    (w,), (u,), (b,), sigma = f.w, f.u, f.b, f.gate(t.reshape(1))
    activation = z @ w + b
    slope, divergence, *_ = f.divergence(t, z)
    torch.testing.assert_close(slope, sigma * torch.tanh(activation)[:, None] * u)
    torch.testing.assert_close(divergence, sigma * (u @ w) / torch.cosh(activation) ** 2)


def test_traces_of_units_add_up() -> None:
    f, z = field(units=2), normal(20, 2)
    t = torch.tensor(0.5).double()
    total = f.divergence(t, z)[1]
    parts = []
    for n in range(2):
        single = field(units=2)
        with torch.no_grad():
            single.u[1 - n] = 0
        parts.append(single.divergence(t, z)[1])
    torch.testing.assert_close(parts[0] + parts[1], total)


def test_gates_open_and_close_with_time() -> None:
    f, z = field(), normal(5, 2)
    gates = torch.stack([f.gate(torch.tensor([t]).double()) for t in (0.0, 0.5, 1.0)])
    assert ((gates > 0) & (gates < 1)).all()
    assert (gates[0] - gates[2]).abs().max() > 0.05
    early, late = (f(torch.tensor(t).double(), z) for t in (0.0, 1.0))
    assert (early - late).abs().max() > 0.01


# -- the layers ---------------------------------------------------------------------------------------------


def test_every_layer_is_invertible_whatever_its_parameters() -> None:
    made = PlanarLayers(2, 200, StandardNormal(2), generator()).double()
    with torch.no_grad():
        made.w.copy_(5 * normal(200, 2))
        made.u.copy_(5 * normal(200, 2, seed=2))
    u_hat, s = made.constrained()
    assert (s > 0).all()
    assert s.min() < 1e-20  # where w^T u^ itself rounds to -1
    torch.testing.assert_close(1 + (made.w * u_hat).sum(1), s, rtol=1e-9, atol=1e-9)
    # only the component along w is moved
    across = torch.stack((-made.w[:, 1], made.w[:, 0]), 1)
    torch.testing.assert_close((across * u_hat).sum(1), (across * made.u).sum(1))
    assert torch.isfinite(made.float().path(normal(50, 2).float()).delta).all()


def test_where_the_layers_start() -> None:
    x = normal(100, 2)
    keeps, shrinks = (PlanarLayers(2, 64, StandardNormal(2), generator(), s).double() for s in (False, True))
    torch.testing.assert_close(keeps.path(x).delta, torch.zeros(100).double(), rtol=0, atol=1e-5)
    assert (keeps.encode(x) - x).abs().max() > 0.1
    assert shrinks.constrained()[1].mean().item() == pytest.approx(math.log(2), abs=0.02)
    assert shrinks.path(x).delta.max() < -15


def test_layers_are_passed_in_order_and_counted() -> None:
    made, x = layers(3), normal(5, 2)
    u_hat, _ = made.constrained()
    z = x
    for n in range(3):
        z = z + u_hat[n] * torch.tanh(z @ made.w[n] + made.b[n])[:, None]
    torch.testing.assert_close(made.encode(x), z)
    assert made.counter.forward_evaluations == 3
    made.decode(z)
    assert made.counter.forward_evaluations == 6


def test_root() -> None:
    y = torch.linspace(-8, 8, 101, dtype=torch.float64)
    for gain in (1e-6, 0.5, 1.0, 4.0, 51.0):
        s, b = torch.tensor(gain, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
        a = planar_root(y, s, b)
        torch.testing.assert_close(a + (s - 1) * torch.tanh(a + b), y, rtol=0, atol=1e-12)
    inputs = [
        x.requires_grad_() for x in (y[::10].clone(), torch.tensor(0.4).double(), torch.tensor(-0.6).double())
    ]
    assert torch.autograd.gradcheck(planar_root, inputs)


def test_without_the_constraint_a_layer_folds() -> None:
    """At s = -2 two states have one image, and no root is both."""
    w, b = torch.tensor([1.0, 0.0]).double(), torch.tensor(0.0).double()
    x = torch.tensor([[2.98466, 0.0], [-2.98466, 0.0], [0.0, 0.0]]).double()
    z, _ = pass_layer((w, -3 * w, b), x)
    assert z.abs().max() < 1e-4


# -- both ---------------------------------------------------------------------------------------------------


def test_inverted_is_the_other_way_round() -> None:
    flow, x = layers(), normal(20, 2)
    other = Inverted(flow)
    z = other.encode(x)
    torch.testing.assert_close(flow.encode(z), x)
    expected = flow.prior.log_prob(z) - flow.path(z).delta
    torch.testing.assert_close(other.log_prob(x), expected)
    torch.testing.assert_close(Inverted(other).log_prob(x), flow.log_prob(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("method", "units", "expected"), [("cnf", 2, 140), ("cnf", 64, 2496), ("nf", 32, 160)]
)
def test_parameter_counts(method: str, units: int, expected: int) -> None:
    """5 a unit or layer in two dimensions; the gates' network adds 64 + 33 a unit."""
    flow = build(method, units, 32, 1e-5, inverted=True)
    assert sum(p.numel() for p in flow.parameters()) == expected


def test_both_methods_start_from_the_same_units() -> None:
    field_, shrunk = (
        PlanarField(2, 8, 4, generator()),
        PlanarLayers(2, 8, StandardNormal(2), generator(), True),
    )
    for name in ("w", "u", "b"):
        assert torch.equal(getattr(field_, name), getattr(shrunk, name))


def test_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="cnf, nf or nf_shrunk"):
        build("radial", 2, 32, 1e-5, inverted=False)
