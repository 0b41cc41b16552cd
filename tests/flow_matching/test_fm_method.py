"""The objective, its minimiser, its draws, and dropped labels."""

import math
import shutil

import pytest
import torch
from marginal import GaussianMixture, marginal, marginal_field
from torch import Tensor, nn

from bench.errors import UserError
from replications.flow_matching.compiled import CompiledObjective
from replications.flow_matching.coupling import Entropic, exact, independent
from replications.flow_matching.method import METHODS, Draw, FlowMatching, draw, drop_labels, objective
from replications.flow_matching.paths import (
    BridgePath,
    LinearPath,
    OptimalTransportPath,
    VarianceExplodingPath,
    VariancePreservingPath,
)
from replications.flows.density.integration import Integration
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
    drawn = draw(FlowMatching(path), x1, generator(1))
    loss = objective(network, path, x1, drawn)
    expected = torch.autograd.grad(loss, tuple(network.parameters()))
    compiled = CompiledObjective(network, path)(x1, drawn)
    assert not compiled.requires_grad
    torch.testing.assert_close(compiled, loss.detach(), rtol=1e-12, atol=1e-12)
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-12)


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


class Middle(LinearPath):
    """A path of which only the middle half of the time is used."""

    times = (0.25, 0.75)


def test_times_are_uniform_over_those_of_the_path() -> None:
    t = draw(FlowMatching(Middle()), normal(4000, 2), generator()).t
    assert t.min() == pytest.approx(0.25, abs=0.01)
    assert t.max() == pytest.approx(0.75, abs=0.01)
    assert t.var().item() == pytest.approx(0.25 / 12, rel=0.1)


def test_methods_are_those_of_the_papers() -> None:
    assert METHODS["fm-ot"](0.2) == FlowMatching(OptimalTransportPath(0.2), independent)
    assert METHODS["i-cfm"](0.1) == FlowMatching(LinearPath(0.1), independent)
    assert METHODS["ot-cfm"](0.1) == FlowMatching(LinearPath(0.1), exact)
    assert METHODS["sb-cfm"](0.7) == FlowMatching(BridgePath(0.7), Entropic(0.7))
    assert METHODS["fm-vp"]().path == VariancePreservingPath(0.1, 20)
    assert METHODS["fm-ve"]().path == VarianceExplodingPath(0.01, 50)


def test_another_source_is_coupled_to_the_data() -> None:
    x1 = normal(30, 2)
    source = x1[torch.randperm(30, generator=generator())] + 1e-3
    torch.testing.assert_close(draw(METHODS["ot-cfm"](), x1, generator(), source).x0, x1 + 1e-3)
    assert draw(METHODS["i-cfm"](), x1, generator(), source).x0 is source


PATHS = (OptimalTransportPath(0.5), LinearPath(), VariancePreservingPath())


@pytest.fixture(scope="module", params=PATHS, ids=lambda path: type(path).__name__)
def fitted(request: pytest.FixtureRequest) -> tuple[FlowMatching, nn.Module]:
    """A network that has regressed the targets of a mixture for a few seconds."""
    method, network = FlowMatching(request.param), MlpField(2, (64, 64), generator(), "input", "silu")
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


def test_minimiser_on_a_mixture_approaches_the_closed_form(fitted: tuple[FlowMatching, nn.Module]) -> None:
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
