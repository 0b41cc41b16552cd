import math

import pytest
import torch

from replications.blog.experiments.theory import known_flows as flows
from replications.blog.experiments.theory.run import log_density, tanh_log_density


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def points(dim, n=20):
    return torch.randn(n, dim, generator=generator(1), dtype=torch.float64)


def every_flow():
    a = torch.randn(2, 2, generator=generator(), dtype=torch.float64)
    return [
        flows.linear(a),
        flows.pendulum(0.0),
        flows.pendulum(0.3),
        flows.hyperbolic(),
        flows.network(2, generator()),
    ]


@pytest.mark.parametrize("flow", every_flow(), ids=lambda flow: flow.name)
def test_divergence_is_the_trace_of_the_jacobian(flow):
    x, t = points(1 if flow.name == "tanh" else 2), torch.tensor(0.3, dtype=torch.float64)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda z: flow.velocity(t, z[None])[0]))(x)
    trace = jacobian.diagonal(dim1=1, dim2=2).sum(-1)
    torch.testing.assert_close(flow.divergence(t, x), trace, rtol=1e-12, atol=1e-12)


def test_area_of_an_ellipse_and_its_sign():
    angle = 2 * math.pi * torch.arange(32, dtype=torch.float64) / 32
    ellipse = torch.stack((1 + 3 * angle.cos(), 0.5 * angle.sin() - 2), -1)
    assert float(flows.enclosed_area(ellipse)) == pytest.approx(1.5 * math.pi, rel=1e-13)
    assert float(flows.enclosed_area(ellipse.flip(0))) == pytest.approx(-1.5 * math.pi, rel=1e-13)


def test_a_linear_flow_has_the_matrix_exponential_as_its_jacobian():
    a = torch.randn(2, 2, generator=generator(), dtype=torch.float64)
    jacobian = flows.flow_jacobian(flows.linear(a), points(2, 3), 1.2, 1e-10)
    torch.testing.assert_close(
        jacobian, torch.linalg.matrix_exp(1.2 * a).expand(3, 2, 2), rtol=1e-8, atol=1e-8
    )


def test_log_expansion_is_the_log_determinant_and_returns_to_zero():
    flow, x = flows.network(2, generator()), points(2)
    y, expansion = flows.transport(flow, x, 0.0, 1.5, 1e-9)
    determinant = torch.linalg.det(flows.flow_jacobian(flow, x, 1.5, 1e-9))
    torch.testing.assert_close(expansion, determinant.log(), rtol=0, atol=1e-6)
    back, contraction = flows.transport(flow, y, 1.5, 0.0, 1e-9)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-7)
    torch.testing.assert_close(contraction, -expansion, rtol=0, atol=1e-7)


def test_a_field_that_is_not_hamiltonian_does_not_keep_the_area():
    boundary = flows.disc_boundary(torch.zeros(2, dtype=torch.float64), 0.5, 64)
    after, _ = flows.transport(flows.pendulum(0.5), boundary, 0.0, 1.0, 1e-9)
    ratio = float(flows.enclosed_area(after) / flows.enclosed_area(boundary))
    assert ratio == pytest.approx(math.exp(-0.5), rel=1e-7)


def test_closed_form_of_the_tanh_flow_agrees_with_the_carried_density():
    y = torch.linspace(-4, 4, 41, dtype=torch.float64)[:, None]
    carried = log_density(flows.hyperbolic(), y, 1.5, 1e-10)
    torch.testing.assert_close(carried, tanh_log_density(y, 1.5), rtol=0, atol=1e-7)


@pytest.mark.parametrize("part", ["liouville", "density"])
def test_errors_fall_with_the_tolerance(finished, part):
    ladders = {k: c.y for k, c in finished["blog.theory", part].curves.items() if "_error" in k}
    assert len(ladders) == 4
    for key, errors in ladders.items():
        assert errors[-1] < 1e-6, key
        assert errors[-1] < 1e-2 * max(errors[:2]), key
