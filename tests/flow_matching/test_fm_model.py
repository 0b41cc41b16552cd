"""A velocity as a flow, with and without classes and guidance."""

import shutil

import pytest
import torch
from marginal import GaussianMixture, marginal, marginal_field
from torch import Tensor, nn

from bench.errors import UserError
from replications.flow_matching.model import (
    Guided,
    Reversed,
    build,
    build_images,
    flow_of,
    of_class,
    velocity_of,
)
from replications.flow_matching.paths import (
    LinearPath,
    OptimalTransportPath,
    VariancePreservingPath,
)
from replications.flows.density.cnf import CNF
from replications.flows.density.divergence import Divergence
from replications.flows.density.divergence import exact as exact_divergence
from replications.flows.density.integration import Integration
from replications.flows.density.priors import IsotropicNormal, ShapedNormal
from replications.flows.fields.mlp import MlpField
from replications.flows.ode.solve import Solver

TARGET = GaussianMixture(torch.tensor([[2.0, 0.0], [-2.0, 0.5]]), torch.tensor([[0.1, 0.3], [0.2, 0.1]]))
TIGHT = Integration(Solver(rtol=1e-9, atol=1e-9))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


# -- guidance -------------------------------------------------------------------------------------------------


class Labelled(nn.Module):
    """v(t, x, c) = tanh(A_c x) + c t, of classes 0, 1 and none, 2."""

    def __init__(self) -> None:
        super().__init__()
        self.matrices = nn.Parameter(normal(3, 2, 2))

    def forward(self, t: Tensor, x: Tensor, labels: Tensor) -> Tensor:
        return torch.tanh(torch.einsum("bij,bj->bi", self.matrices[labels], x)) + labels[:, None] * t


def test_guidance_is_the_extrapolation_from_no_class() -> None:
    v, x, t = Labelled(), normal(4, 2), torch.tensor(0.3).double()
    labels = torch.tensor([0, 1, 1, 0])
    given, free = v(t, x, labels), v(t, x, torch.full((4,), 2))
    for w in (0.0, 0.5, 2.0, -1.0):
        torch.testing.assert_close(
            Guided(v, labels, 2, w)(t, x), (1 + w) * given - w * free, rtol=1e-12, atol=1e-12
        )
    assert torch.equal(Guided(v, labels, 2)(t, x), given)
    # Without class to begin with, guidance of any strength changes nothing.
    torch.testing.assert_close(Guided(v, torch.full((4,), 2), 2, 3.0)(t, x), free, rtol=1e-12, atol=1e-12)


def test_guided_products_are_those_of_its_jacobian() -> None:
    field, x, t = (
        Guided(Labelled(), torch.tensor([0, 1, 1]), 2, 1.5),
        normal(3, 2),
        torch.tensor(0.3).double(),
    )
    rows = torch.autograd.functional.jacobian(lambda y: field(t, y).sum(0), x).transpose(0, 1)
    at = exact_divergence(Reversed(field), 1 - t, x)
    torch.testing.assert_close(at.f, -field(t, x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(at.divergence, -rows.diagonal(dim1=1, dim2=2).sum(1), rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
@pytest.mark.parametrize("method", ["euler", "dopri5"])
def test_compiled_sampling_is_the_eager_one(method: str) -> None:
    flow = build(2, (16, 16), "silu", generator=generator()).double()
    solver = Solver(method, 1e-6, 1e-6, steps=None if method == "dopri5" else 10)
    eager = flow.sample(8, generator(1), Integration(solver))
    evaluations = flow.counter.forward_evaluations
    flow.counter.reset()
    compiled = flow.sample(8, generator(1), Integration(solver, compiled=True))
    torch.testing.assert_close(compiled, eager, rtol=1e-10, atol=1e-10)
    assert flow.counter.forward_evaluations == evaluations


# -- flows ----------------------------------------------------------------------------------------------------


class Closed(nn.Module):
    """The closed-form field of a mixture as a velocity."""

    def __init__(self, path: object) -> None:
        super().__init__()
        self.path, self.like = path, nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return marginal_field(self.path, DOUBLE, t, x)  # type: ignore[arg-type]


DOUBLE = GaussianMixture(TARGET.means.double(), TARGET.variances.double())


@pytest.mark.parametrize("path", [LinearPath(), VariancePreservingPath(), OptimalTransportPath(0.1)])
def test_the_closed_form_field_has_the_density_of_its_path(path: object) -> None:
    """Carried from p_0 by the flow of u_t, the density is p_1: log_prob, path and end time in one."""
    start, end = path.times  # type: ignore[attr-defined]
    field = Closed(path)

    class Base:
        """p_0, which for a diffusion is not quite the source."""

        def log_prob(self, x: Tensor) -> Tensor:
            return marginal(path, DOUBLE, torch.tensor(start).double()).log_prob(x)  # type: ignore[arg-type]

    flow = flow_of(field, Base(), path.times, TIGHT)  # type: ignore[arg-type,attr-defined]
    x = DOUBLE.sample(6, generator(), dtype=torch.float64)
    expected = marginal(path, DOUBLE, torch.tensor(end).double()).log_prob(x)  # type: ignore[arg-type]
    torch.testing.assert_close(flow.log_prob(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["euler", "midpoint", "heun2", "rk4", "dopri5"])
def test_every_solver_of_the_papers_samples(method: str) -> None:
    integration = Integration(Solver(method, 1e-6, 1e-6, steps=None if method == "dopri5" else 50))
    flow = flow_of(Closed(LinearPath()), IsotropicNormal(2, 1.0))
    z = normal(50, 2)
    reference = flow.decode(z, TIGHT)
    bound = {"euler": 0.3, "midpoint": 0.02, "heun2": 0.02, "rk4": 1e-3, "dopri5": 1e-4}[method]
    error = (flow.decode(z, integration) - reference).abs().max().item()
    assert 0 < error < bound


def test_reversed_runs_the_velocity_backwards_and_pushes_through_it() -> None:
    network, x, s = (
        MlpField(2, (8, 8, 8), generator(), "input", "selu").double(),
        normal(5, 2),
        torch.tensor(0.3).double(),
    )
    field, v = Reversed(network, 0.9), normal(1, 5, 2, seed=2)
    f, jv = field.pushforward(s, x, v)
    jacobian = torch.autograd.functional.jacobian(lambda y: network(0.9 - s, y).sum(0), x).transpose(0, 1)
    torch.testing.assert_close(f, -network(0.9 - s, x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(field(s, x), f, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(jv, -torch.einsum("bij,kbj->kbi", jacobian, v), rtol=1e-12, atol=1e-12)


def test_a_built_flow_goes_by_its_arguments() -> None:
    flow = build(2, (8, 8), scale=5.0, times=(1e-5, 1 - 1e-5), generator=generator(3))
    end = flow.T
    assert end == pytest.approx(1 - 2e-5)
    assert flow.prior == IsotropicNormal(2, 5.0)
    assert isinstance(velocity_of(flow), MlpField)
    again, other = (build(2, (8, 8), generator=generator(seed)) for seed in (3, 4))
    weight = flow.state_dict()["field.velocity.layers.0.weight"]
    assert torch.equal(weight, again.state_dict()["field.velocity.layers.0.weight"])
    assert not torch.equal(weight, other.state_dict()["field.velocity.layers.0.weight"])


def test_flows_of_a_class_share_the_network_and_differ_by_class() -> None:
    flow = build_images(
        (1, 4, 4), 4, mult=(1, 2), depth=1, attention=(), classes=2, generator=generator()
    ).double()
    with torch.no_grad():
        for seed, parameter in enumerate(flow.parameters()):
            parameter.copy_(0.3 * normal(*parameter.shape, seed=seed))
    integration = Integration(Solver("rk4", steps=4), Divergence("gaussian"))
    x = normal(3, 1, 4, 4).sigmoid()
    first, second, none = (of_class(flow, torch.full((3,), c)) for c in range(3))
    assert velocity_of(first).velocity is velocity_of(flow)  # type: ignore[union-attr]
    log_p = [
        each.log_prob(x, generator=generator(), integration=integration)
        for each in (first, second, none, flow)
    ]
    assert (log_p[0] - log_p[1]).abs().min() > 1e-4
    torch.testing.assert_close(log_p[2], log_p[3], rtol=1e-10, atol=1e-10)
    samples = of_class(flow, torch.tensor([0, 1, 1]), 1.5).sample(3, generator(), integration)
    assert samples.shape == (3, 1, 4, 4)
    with pytest.raises(UserError, match=r"0\.\.2"):
        of_class(flow, torch.tensor([3]))
    with pytest.raises(UserError, match="no classes"):
        of_class(build_images((1, 4, 4), 4, mult=(1,), depth=1), torch.tensor([0]))


def test_a_flow_of_a_class_runs_over_the_times_of_the_flow() -> None:
    flow = build_images((1, 4, 4), 4, mult=(1,), depth=1, attention=(), classes=2, times=(0.25, 0.75))
    given = of_class(flow, torch.tensor([0, 1])).flow
    assert isinstance(given, CNF)
    assert given.T == 0.5
    assert isinstance(given.field, Reversed)
    assert given.field.end == 0.75


def test_normal_density_of_images() -> None:
    prior, x = ShapedNormal((1, 2, 3), 2.0), normal(4, 1, 2, 3)
    torch.testing.assert_close(prior.log_prob(x), IsotropicNormal(6, 2.0).log_prob(x.flatten(1)))
    assert torch.equal(
        prior.sample(3, generator()).flatten(1), IsotropicNormal(6, 2.0).sample(3, generator())
    )
