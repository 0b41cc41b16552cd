"""The objective and its minimiser, guidance, dropped labels, and a velocity as a flow."""

import math
import shutil

import pytest
import torch
from torch import Tensor, nn

from bench.errors import UserError
from replications.flow_matching.compiled import CompiledObjective
from replications.flow_matching.coupling import Entropic, exact, independent
from replications.flow_matching.marginal import GaussianMixture, marginal, marginal_field
from replications.flow_matching.method import METHODS, Draw, Method, draw, drop_labels, objective
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
    BridgePath,
    LinearPath,
    OptimalTransportPath,
    VarianceExplodingPath,
    VariancePreservingPath,
)
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


# -- objective ------------------------------------------------------------------------------------------------


def test_objective_is_the_mean_squared_error_over_batch_and_dimensions() -> None:
    x1, drawn = (
        normal(5, 3),
        Draw(normal(5, 3, seed=2), torch.rand(5, 1, generator=generator()).double(), None),
    )
    velocity = MlpField(3, (8,), generator()).double()
    loss = objective(velocity, OptimalTransportPath(0.1), x1, drawn)
    terms = [
        (velocity(t, (1 - 0.9 * t) * a + t * b) - (b - 0.9 * a)).square().sum()
        for a, b, t in zip(drawn.x0, x1, drawn.t[:, 0], strict=True)
    ]
    torch.testing.assert_close(loss, sum(terms, torch.zeros(())) / (5 * 3), rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings(
    "ignore:.*script_method:DeprecationWarning"
)  # of torch's own, on the first import
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_compiled_objective_and_gradient_are_the_eager_ones() -> None:
    network, path, x1 = (
        MlpField(2, (16, 16), generator(), "input", "selu").double(),
        LinearPath(0.1),
        normal(64, 2),
    )
    drawn = draw(Method(path), x1, generator(1))
    loss = objective(network, path, x1, drawn)
    expected = torch.autograd.grad(loss, tuple(network.parameters()))
    compiled = CompiledObjective(network, path)(x1, drawn)
    assert not compiled.requires_grad
    torch.testing.assert_close(compiled, loss.detach(), rtol=1e-12, atol=1e-12)
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-12)


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


@pytest.mark.parametrize("name", METHODS)
def test_draws_depend_on_the_generator_alone(name: str) -> None:
    if name == "sb-cfm":
        pytest.importorskip("ot")
    method, x1 = METHODS[name](), normal(2000, 1, 2, seed=3)
    first, again, other = (draw(method, x1, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.x0, again.x0)
    assert torch.equal(first.t, again.t)
    assert not torch.equal(first.x0, other.x0)
    assert not torch.equal(first.t, other.t)
    start, end = method.path.times
    assert first.t.shape == (2000, 1, 1)
    assert start <= first.t.min() < 0.01
    assert 0.99 < first.t.max() <= end
    assert first.t.mean().item() == pytest.approx(0.5, abs=4 * (12 * 2000) ** -0.5)
    assert first.x0.std().item() == pytest.approx(method.path.source_std, rel=0.1)
    assert (first.noise is not None) == method.path.noisy
    assert {first.x0.dtype, first.t.dtype} == {torch.float64}


def test_methods_are_those_of_the_papers() -> None:
    assert METHODS["fm-ot"](0.2) == Method(OptimalTransportPath(0.2), independent)
    assert METHODS["i-cfm"](0.1) == Method(LinearPath(0.1), independent)
    assert METHODS["ot-cfm"](0.1) == Method(LinearPath(0.1), exact)
    assert METHODS["sb-cfm"](0.7) == Method(BridgePath(0.7), Entropic(0.7))
    assert METHODS["fm-vp"]().path == VariancePreservingPath(0.1, 20)
    assert METHODS["fm-ve"]().path == VarianceExplodingPath(0.01, 50)


def test_another_source_is_coupled_to_the_data() -> None:
    x1 = normal(30, 2)
    source = x1[torch.randperm(30, generator=generator())] + 1e-3
    torch.testing.assert_close(draw(METHODS["ot-cfm"](), x1, generator(), source).x0, x1 + 1e-3)
    assert draw(METHODS["i-cfm"](), x1, generator(), source).x0 is source


PATHS = (OptimalTransportPath(0.5), LinearPath(), VariancePreservingPath())


@pytest.fixture(scope="module", params=PATHS, ids=lambda path: type(path).__name__)
def fitted(request: pytest.FixtureRequest) -> tuple[Method, nn.Module]:
    """A network that has regressed the targets of a mixture for a few seconds."""
    method, network = Method(request.param), MlpField(2, (64, 64), generator(), "input", "silu")
    optimizer, steps = torch.optim.Adam(network.parameters(), 1e-2), 600
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draws = generator(1)
    for _ in range(steps):
        x1 = TARGET.sample(1024, draws)
        optimizer.zero_grad()
        objective(network, method.path, x1, draw(method, x1, draws)).backward()
        optimizer.step()
        schedule.step()
    return method, network


def test_minimiser_on_a_mixture_approaches_the_closed_form(fitted: tuple[Method, nn.Module]) -> None:
    method, network = fitted

    def error(path: object) -> float:
        """Mean over t and x ~ p_t of abs(v - u_t)^2, over that of abs(u_t)^2."""
        draws, off, size = generator(2), 0.0, 0.0
        for value in (0.1, 0.3, 0.5, 0.7, 0.9):
            t = torch.tensor(value)
            x = marginal(method.path, TARGET, t).sample(2000, draws)
            with torch.no_grad():
                u = marginal_field(path, TARGET, t, x)  # type: ignore[arg-type]
                off += (network(t, x) - u).square().sum().item()
                size += u.square().sum().item()
        return off / size

    assert error(method.path) < 0.05
    for wrong in PATHS:
        if wrong != method.path:
            assert error(wrong) > 0.1, wrong


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


def test_labels_are_dropped_one_by_one_with_their_probability() -> None:
    labels = torch.arange(10_000) % 10
    dropped = drop_labels(labels, 0.2, 10, generator())
    share = (dropped == 10).double().mean().item()
    assert share == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / 10_000))
    assert torch.equal(dropped[dropped != 10], labels[dropped != 10])
    assert torch.equal(drop_labels(labels, 0.0, 10, generator()), labels)
    assert (drop_labels(labels, 1.0, 10, generator()) == 10).all()
    assert torch.equal(dropped, drop_labels(labels, 0.2, 10, generator()))
    assert not torch.equal(dropped, drop_labels(labels, 0.2, 10, generator(1)))
    with pytest.raises(UserError, match=r"\[0, 1\]"):
        drop_labels(labels, 1.2, 10, generator())


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
    weight = flow.state_dict()["field.field.velocity.layers.0.weight"]
    assert torch.equal(weight, again.state_dict()["field.field.velocity.layers.0.weight"])
    assert not torch.equal(weight, other.state_dict()["field.field.velocity.layers.0.weight"])


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


def test_normal_density_of_images() -> None:
    prior, x = ShapedNormal((1, 2, 3), 2.0), normal(4, 1, 2, 3)
    torch.testing.assert_close(prior.log_prob(x), IsotropicNormal(6, 2.0).log_prob(x.flatten(1)))
    assert torch.equal(
        prior.sample(3, generator()).flatten(1), IsotropicNormal(6, 2.0).sample(3, generator())
    )
