"""What is particular to continuous flows; what every flow has to satisfy is in `test_conformance`."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

import replications.flows.ode.integrate
from replications.flows.density.cnf import CNF
from replications.flows.density.divergence import Divergence
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.errors import RequestError
from replications.flows.fields.mlp import MlpField
from replications.flows.ode.solve import Solver
from replications.flows.ode.step import compiled_steps

TIGHT = Integration(Solver(rtol=1e-8, atol=1e-8))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def cnf(integration: Integration = TIGHT, dim: int = 2, learn_T: bool = False) -> CNF:
    """A flow far enough from the identity that an error shows."""
    field = MlpField(dim, (16, 16), generator(), time="concatsquash")
    with torch.no_grad():
        for weight in field.parameters():
            weight *= 3
    return CNF(field, StandardNormal(dim), integration, T=1.5, learn_T=learn_T).double()


def loss(flow: CNF, x: Tensor, eps: Tensor | None = None) -> Tensor:
    path = flow.path(x, eps)
    return sum(
        (r.mean() for r in path.integrals.values()), -(flow.prior.log_prob(path.z) + path.delta).mean()
    )


def gradient(flow: CNF, value: Tensor) -> Tensor:
    grads = torch.autograd.grad(value, tuple(flow.parameters()), allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in grads])


class Linear(nn.Module):
    """dx/dt = A x."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[0.3, -1.0], [0.5, -0.7]], dtype=torch.float64))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return x @ self.matrix.T

    def pushforward(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self(t, x), v @ self.matrix.T


def test_linear_flow_is_the_normal_density_of_its_closed_form() -> None:
    field, T = Linear(), 1.5
    integration = dataclasses.replace(TIGHT, regularizers=("jacobian_sum", "kinetic_sum"))
    flow, x = CNF(field, StandardNormal(2), integration, T=T), normal(5, 2)
    backwards = torch.linalg.matrix_exp(-T * field.matrix.detach())
    exact = torch.distributions.MultivariateNormal(torch.zeros(2).double(), backwards @ backwards.T)
    torch.testing.assert_close(flow.log_prob(x), exact.log_prob(x), rtol=1e-7, atol=1e-7)
    integrals = flow.path(x).integrals
    torch.testing.assert_close(integrals["jacobian_sum"], (T * field.matrix.square().sum()).expand(5))
    # d|x|^2/dt is no help; |A x(t)|^2 integrated by Simpson's rule is
    times = torch.linspace(0, T, 201, dtype=torch.float64)
    weights = torch.tensor([1.0, *[4.0, 2.0] * 99, 4.0, 1.0], dtype=torch.float64) * (times[1] / 3)
    speeds = torch.stack(
        [field(t, x @ torch.linalg.matrix_exp(t * field.matrix).T).square().sum(1) for t in times]
    )
    torch.testing.assert_close(integrals["kinetic_sum"], weights @ speeds, rtol=1e-7, atol=1e-7)


def test_estimated_density_is_unbiased_in_delta_and_fixed_by_its_probes() -> None:
    flow, n = cnf(), 2000
    integration = Integration(Solver(rtol=1e-5, atol=1e-5), Divergence("rademacher"))
    x = normal(1, 2).expand(n, 2)
    with torch.no_grad():
        delta = flow.path(x, generator=generator(), integration=integration).delta
        exact = flow.path(x[:1]).delta
        assert (delta.mean() - exact).abs() < 4 * delta.std() / n**0.5
        eps = integration.divergence.draw(x[:8], generator())
        first, again = (flow.log_prob(x[:8], eps, integration=integration) for _ in range(2))
        drawn = flow.log_prob(x[:8], generator=generator(), integration=integration)
    assert torch.equal(first, again)
    assert torch.equal(first, drawn)
    assert first.std() > 0
    with pytest.raises(RequestError, match="needs probes"):
        flow.log_prob(x, integration=integration)


@pytest.mark.parametrize("mode", ["adjoint", "checkpoint"])
def test_gradient_modes_agree(mode: str) -> None:
    integration = Integration(
        TIGHT.solver, Divergence("gaussian"), "backprop", ("kinetic_sum", "jacobian_mean")
    )
    flow, x, eps = cnf(integration, learn_T=True), normal(8, 2), normal(1, 8, 2, seed=3)
    reference = gradient(flow, loss(flow, x, eps))
    flow.integration = dataclasses.replace(integration, gradient=mode)
    tolerance = 1e-11 if mode == "checkpoint" else 1e-6
    torch.testing.assert_close(gradient(flow, loss(flow, x, eps)), reference, rtol=tolerance, atol=tolerance)


def test_each_solve_keeps_its_own_probes_for_the_way_back() -> None:
    flow, x = cnf(Integration(divergence=Divergence("gaussian"))), normal(8, 2)
    first, second = normal(1, 8, 2, seed=3), normal(1, 8, 2, seed=4)
    apart = gradient(flow, loss(flow, x, first)) + gradient(flow, loss(flow, x, second))
    together = gradient(flow, loss(flow, x, first) + loss(flow, x, second))
    torch.testing.assert_close(together, apart, rtol=1e-10, atol=1e-10)


def test_learned_end_time() -> None:
    flow, given, x = cnf(learn_T=True), cnf(), normal(6, 2)
    assert abs(flow.T - given.T) < 1e-6  # sqrt(T) is made in float32
    torch.testing.assert_close(flow.log_prob(x), given.log_prob(x), rtol=1e-6, atol=1e-6)
    (slope,) = torch.autograd.grad(flow.log_prob(x).sum(), [flow.root_T])
    h, values = 1e-4, []
    for sign in (1, -1):
        moved = cnf(learn_T=True)
        with torch.no_grad():
            moved.root_T += sign * h
        values.append(moved.log_prob(x).sum().item())
    assert slope.item() == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-5)


@pytest.mark.parametrize("learn_T", [False, True])
def test_a_path_may_end_elsewhere(learn_T: bool) -> None:
    flow, x = cnf(learn_T=learn_T), normal(4, 2)
    shorter = CNF(flow.field, flow.prior, TIGHT, T=0.6 * flow.T)
    torch.testing.assert_close(flow.path(x, end=0.6).z, shorter.path(x).z, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(flow.path(x, end=0.6).delta, shorter.path(x).delta, rtol=1e-7, atol=1e-7)


def evaluations(flow: CNF, x: Tensor, integration: Integration) -> int:
    flow.counter.reset()
    with torch.no_grad():
        flow.path(x, integration=integration)
    return flow.counter.forward_evaluations


class Quartic(nn.Module):
    """dx/dt = t^4 in each dimension: dopri5 is exact for x, but not for the integral of |f|^2 = D t^8."""

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return t**4 + 0 * x

    def pushforward(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self(t, x), 0 * v


def test_regularizers_steer_only_where_told_to() -> None:
    flow, x = CNF(Quartic(), StandardNormal(2), T=2.0), normal(8, 2)
    plain = Integration(Solver(rtol=1e-6, atol=1e-9))
    unsteered = dataclasses.replace(plain, regularizers=("kinetic_sum",))
    steered = dataclasses.replace(unsteered, steered=True)
    assert evaluations(flow, x, unsteered) == evaluations(flow, x, plain)
    assert evaluations(flow, x, steered) > evaluations(flow, x, plain)
    exact = torch.full((8,), 2 * 2.0**9 / 9, dtype=torch.float64)
    torch.testing.assert_close(
        flow.path(x, integration=steered).integrals["kinetic_sum"], exact, rtol=1e-5, atol=0
    )
    torch.testing.assert_close(
        flow.path(x, integration=unsteered).integrals["kinetic_sum"], exact, rtol=0.2, atol=0
    )
    assert unsteered.protocol == "exact-trace/dopri5-1e-6-1e-9"
    assert steered.protocol == "exact-trace/dopri5-1e-6-1e-9/steered"


def test_evaluations_are_counted_both_ways() -> None:
    flow = cnf(Integration(Solver("rk4", steps=4)))
    value = loss(flow, normal(4, 2))
    assert (flow.counter.forward_evaluations, flow.counter.backward_evaluations) == (16, 0)
    value.backward()
    assert (flow.counter.forward_evaluations, flow.counter.backward_evaluations) == (16, 16)


def test_compiled_it_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # That each kind of step is one graph is what is tested: the graphs run as they are, no code is generated.
    traced = compiled_steps("eager")
    monkeypatch.setattr(replications.flows.ode.integrate, "compiled_steps", lambda: traced)
    regularizers = ("kinetic_half_mean", "jacobian_mean")
    integration = Integration(Solver("rk4", steps=3), Divergence("rademacher"), regularizers=regularizers)
    flow, x = cnf(integration, learn_T=True), normal(8, 2)
    eps = integration.divergence.draw(x, generator())
    eager = gradient(flow, loss(flow, x, eps))
    counts = flow.counter.forward_evaluations, flow.counter.backward_evaluations
    flow.counter.reset()
    flow.integration = dataclasses.replace(integration, compiled=True)
    torch.testing.assert_close(gradient(flow, loss(flow, x, eps)), eager, rtol=1e-10, atol=1e-10)
    assert (flow.counter.forward_evaluations, flow.counter.backward_evaluations) == counts


def test_size_of_the_toy_flow_of_ffjord() -> None:
    flow = CNF(MlpField(2, (64, 64, 64), generator(), "concatsquash"), StandardNormal(2), T=0.5, learn_T=True)
    assert sum(p.numel() for p in flow.parameters()) == 9225


def test_faults_are_named() -> None:
    with pytest.raises(RequestError, match="T must be positive"):
        CNF(Linear(), StandardNormal(2), T=0.0)
    with pytest.raises(RequestError, match="unknown regularizer 'kinetic'"):
        Integration(regularizers=("kinetic",))
    with pytest.raises(RequestError, match="always steer"):
        Integration(Solver(atol=0.0), regularizers=("kinetic_sum",))


def test_a_random_end_time_is_uniform_and_drawn_anew_for_each_solve() -> None:
    integration = Integration(Solver("rk4", steps=2), b=0.75)
    draws = generator(5)
    ends = torch.tensor([integration.draw_end(draws) for _ in range(4000)])
    assert 0.25 <= ends.min() < 0.26
    assert 1.74 < ends.max() <= 1.75
    assert ends.mean().item() == pytest.approx(1.0, abs=4 * 0.75 / 3**0.5 / 4000**0.5)
    flow, x = cnf(), normal(4, 2)
    same = flow.path(x, generator=generator(7), integration=integration).z
    end = integration.draw_end(generator(7))
    torch.testing.assert_close(same, flow.path(x, integration=integration, end=end).z)
    assert not torch.equal(same, flow.path(x, generator=generator(8), integration=integration).z)
    assert torch.equal(flow.encode(x, integration), flow.encode(x, dataclasses.replace(integration, b=0.0)))


def test_a_random_end_time_leaves_the_probes_as_they_are() -> None:
    plain = Integration(Solver("rk4", steps=2), Divergence("gaussian"))
    steer = dataclasses.replace(plain, b=0.5)
    flow, x = cnf(), normal(4, 2)
    eps = plain.divergence.draw(x, generator(7))
    ends = generator(7)
    plain.divergence.draw(x, ends)
    path = flow.path(x, generator=generator(7), integration=steer)
    torch.testing.assert_close(
        path.delta, flow.path(x, eps, integration=plain, end=steer.draw_end(ends)).delta
    )


@pytest.mark.parametrize("b", [-0.1, 1.0])
def test_an_end_time_outside_its_range_is_refused(b: float) -> None:
    with pytest.raises(RequestError, match="b of a random end time"):
        Integration(b=b)


def test_a_random_end_time_needs_a_generator() -> None:
    with pytest.raises(RequestError, match="needs a generator"):
        cnf().path(normal(2, 2), integration=Integration(b=0.5))
