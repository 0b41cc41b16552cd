"""What every flow of the project has to satisfy. A new flow is one more entry of FLOWS."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from replications.flow_matching.model import build, build_images
from replications.flows.density.cnf import CNF
from replications.flows.density.composition import Chain
from replications.flows.density.divergence import Divergence
from replications.flows.density.flow import Flow
from replications.flows.density.images import UnitCubeFlow
from replications.flows.density.integration import Integration
from replications.flows.density.multiscale import MultiScale
from replications.flows.density.priors import StandardNormal
from replications.flows.errors import RequestError
from replications.flows.fields.convolution import ConvField
from replications.flows.fields.mlp import MlpField
from replications.flows.ode.solve import Solver
from replications.neural_ode.experiments.planar_cnf.inverted import Inverted
from replications.neural_ode.planar import PlanarField, PlanarLayers
from replications.ot_flow.method import REGULARIZERS
from replications.ot_flow.potential import GradientField, Potential

TIGHT = Integration(Solver(rtol=1e-8, atol=1e-8))
LOOSE = Integration(Solver(rtol=1e-6, atol=1e-6))
ALL = ("kinetic_sum", "kinetic_half_mean", "jacobian_sum", "jacobian_mean")
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@dataclasses.dataclass(frozen=True)
class Case:
    """A flow in float64 far enough from the identity that an error shows, the shape of a state, how to integrate.

    The parameters named in `idle` change nothing, as the constant of a potential whose gradient alone is used.
    """

    build: Callable[[], Flow]
    shape: tuple[int, ...] = (2,)
    integration: Integration = TIGHT
    cube: bool = False
    idle: tuple[str, ...] = ()

    def points(self, n: int) -> Tensor:
        """Data: normal points, or points of the unit cube."""
        x = normal(n, *self.shape)
        return x.sigmoid() if self.cube else x

    @property
    def smooth(self) -> Integration:
        """The same with a gradient that can be taken again and without regularizers."""
        return dataclasses.replace(self.integration, gradient="backprop", regularizers=())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def moved(module: nn.Module, factor: float = 3.0) -> None:
    with torch.no_grad():
        for weight in module.parameters():
            weight *= factor


def cnf(
    integration: Integration = TIGHT, dim: int = 2, learn_T: bool = False, seed: int = 0, T: float = 1.5
) -> CNF:
    field = MlpField(dim, (16, 16), generator(seed), time="concatsquash")
    moved(field)
    return CNF(field, StandardNormal(dim), integration, T=T, learn_T=learn_T).double()


def chain() -> Flow:
    flows = [cnf(learn_T=True, seed=1, T=0.4), cnf(learn_T=True, seed=2, T=0.7)]
    return Chain(flows, StandardNormal(2)).double()


def multiscale() -> Flow:
    draws = generator(3)
    flow = MultiScale((1, 4, 4), lambda channels: ConvField(channels, (4,), draws), blocks=1)
    moved(flow, 2.0)
    return flow.double()


def planar() -> Flow:
    field = PlanarField(2, 8, 4, generator()).double()
    moved(field)
    return CNF(field, StandardNormal(2), TIGHT)


def planar_layers() -> Flow:
    flow = PlanarLayers(2, 6, StandardNormal(2), generator()).double()
    with torch.no_grad():
        for seed, parameter in enumerate(flow.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=seed))
    return flow


def transport() -> Flow:
    phi = Potential(2, 8, 3, generator()).double()
    with torch.no_grad():
        for seed, parameter in enumerate(phi.parameters()):  # some start at zero or one
            parameter.copy_(0.4 * normal(*parameter.shape, seed=seed))
    return CNF(GradientField(phi), StandardNormal(2))


def matching() -> Flow:
    flow = build(2, (16, 16, 16), "silu", times=(0.0, 1.0 - 1e-5), scale=1.2, generator=generator(4)).double()
    moved(flow, 1.9)
    return flow


def matching_images() -> Flow:
    flow = build_images((1, 2, 2), 4, mult=(1,), depth=1, generator=generator(5)).double()
    with torch.no_grad():
        for seed, parameter in enumerate(flow.parameters()):  # the last layers start at zero
            parameter.copy_(0.3 * normal(*parameter.shape, seed=seed))
    return flow


def continuous(integration: Integration, **kwargs: int | bool) -> Case:
    return Case(lambda: cnf(integration, **kwargs), (kwargs.get("dim", 2),), integration)  # type: ignore[arg-type]


FLOWS: dict[str, Case] = {
    "cnf": continuous(TIGHT),
    "learned T": continuous(TIGHT, learn_T=True),
    "fixed steps": continuous(Integration(Solver("rk4", steps=40))),
    "adjoint": continuous(dataclasses.replace(TIGHT, gradient="adjoint")),
    "backprop": continuous(dataclasses.replace(TIGHT, gradient="backprop")),
    "regularized": continuous(dataclasses.replace(TIGHT, regularizers=ALL)),
    "1-D": continuous(TIGHT, dim=1, seed=2),
    "4-D": continuous(TIGHT, dim=4),
    "chain": Case(chain),
    "planar": Case(planar),
    "planar layers": Case(planar_layers),
    "planar, inverted": Case(lambda: Inverted(planar())),
    "planar layers, inverted": Case(lambda: Inverted(planar_layers())),
    "multi-scale": Case(multiscale, (1, 4, 4)),
    "transport": Case(
        transport,
        integration=dataclasses.replace(TIGHT, regularizers=REGULARIZERS),
        idle=("field.potential.c",),
    ),
    "flow matching": Case(matching),
    "flow matching, images": Case(matching_images, (1, 2, 2), cube=True),
    "images": Case(lambda: UnitCubeFlow(multiscale(), alpha=0.05), (1, 4, 4), cube=True),
}


@pytest.fixture(params=FLOWS)
def case(request: pytest.FixtureRequest) -> Case:
    return FLOWS[request.param]


def loss(flow: Flow, x: Tensor, integration: Integration) -> Tensor:
    path = flow.path(x, integration=integration)
    return sum(
        (r.mean() for r in path.integrals.values()), -(flow.prior.log_prob(path.z) + path.delta).mean()
    )


def test_samples_are_draws_of_the_base_that_encoding_finds_again(case: Case) -> None:
    flow = case.build()
    x = flow.sample(5, generator(), case.integration)
    assert x.shape == (5, *case.shape)
    assert not x.requires_grad
    drawn = flow.prior.sample(5, generator(), dtype=torch.float64, device="cpu")
    z = flow.encode(x, case.integration)
    torch.testing.assert_close(z, drawn, rtol=0, atol=2e-5)
    log_p = flow.log_prob(x, integration=case.integration)
    delta = flow.path(x, integration=case.integration).delta
    torch.testing.assert_close(log_p, flow.prior.log_prob(z) + delta, rtol=0, atol=1e-5)


def test_decode_undoes_encode(case: Case) -> None:
    flow, x = case.build(), case.points(6)
    z = flow.encode(x, case.integration)
    assert (z.flatten(1) - x.flatten(1)).abs().max() > 0.1
    torch.testing.assert_close(flow.decode(z, case.integration), x, rtol=0, atol=1e-6)
    torch.testing.assert_close(flow.path(x, integration=case.integration).z, z, rtol=0, atol=1e-6)


def test_log_determinant_is_that_of_the_full_jacobian(case: Case) -> None:
    flow, x, d = case.build(), case.points(4), math.prod(case.shape)
    rows = torch.autograd.functional.jacobian(lambda y: flow.encode(y, case.smooth).sum(0), x)
    jacobian = rows.reshape(d, len(x), d).transpose(0, 1)
    delta = flow.path(x, integration=case.integration).delta
    assert delta.abs().max() > 0.1
    torch.testing.assert_close(delta, torch.linalg.slogdet(jacobian).logabsdet, rtol=1e-5, atol=1e-6)


def test_gradient_is_that_of_finite_differences_and_reaches_every_parameter(case: Case) -> None:
    flow, x = case.build(), case.points(8)
    loss(flow, x, case.integration).backward()
    named, slope = dict(flow.named_parameters()), 0.0
    assert set(case.idle) <= set(named)
    moves = {name: normal(*p.shape, seed=seed) for seed, (name, p) in enumerate(named.items())}
    for name, parameter in named.items():
        grad = torch.zeros(1) if parameter.grad is None else parameter.grad
        assert bool(grad.any()) != (name in case.idle), name
        slope += float((grad * moves[name]).sum()) if parameter.grad is not None else 0.0

    def moved_by(h: float) -> float:
        with torch.no_grad():
            for name, parameter in named.items():
                parameter += h * moves[name]
            value = loss(flow, x, case.integration).item()
            for name, parameter in named.items():
                parameter -= h * moves[name]
        return value

    h = 1e-4
    assert slope == pytest.approx((moved_by(h) - moved_by(-h)) / (2 * h), rel=1e-4, abs=1e-4)


def test_same_seed_same_sample(case: Case) -> None:
    flow = case.build()
    first, again, other = (flow.sample(4, generator(seed), case.integration) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_type_and_device_are_those_of_the_parameters(case: Case, dtype: torch.dtype, device: str) -> None:
    integration = dataclasses.replace(case.integration, solver=Solver("rk4", steps=4))
    exact, x = case.build(), case.points(4)
    flow = case.build().to(device, dtype)
    there = x.to(device, dtype)
    found = flow.encode(there, integration), flow.log_prob(there, integration=integration)
    for value in (flow.sample(4, generator(), integration), *found):
        assert (value.dtype, value.device.type) == (dtype, device)
    expected = exact.encode(x, integration), exact.log_prob(x, integration=integration)
    for value, truth in zip(found, expected, strict=True):
        torch.testing.assert_close(value.double().cpu(), truth, rtol=1e-4, atol=1e-4)


def test_saved_and_loaded_it_is_the_same(case: Case) -> None:
    flow, x = case.build(), case.points(4)
    before = flow.log_prob(x, integration=case.integration)
    state = {name: value.clone() for name, value in flow.state_dict().items()}
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1)
    assert not torch.allclose(flow.log_prob(x, integration=case.integration), before)
    flow.load_state_dict(state)
    assert torch.equal(flow.log_prob(x, integration=case.integration), before)


@pytest.mark.parametrize("name", [name for name, case in FLOWS.items() if math.prod(case.shape) <= 2])
def test_density_integrates_to_one(name: str) -> None:
    case = FLOWS[name]
    flow, dim = case.build(), case.shape[0]
    axis = torch.linspace(-9, 9, 2001 if dim == 1 else 121, dtype=torch.float64)
    points = torch.cartesian_prod(*[axis] * dim).reshape(-1, dim)
    integration = case.integration if case.integration.solver.fixed else LOOSE
    with torch.no_grad():
        density = flow.log_prob(points, integration=integration).exp()
    assert (density - flow.prior.log_prob(points).exp()).abs().max() > 0.1 * density.max()
    assert (density.sum() * (axis[1] - axis[0]) ** dim).item() == pytest.approx(1.0, abs=1e-4)


# -- chains ---------------------------------------------------------------------------------------------------


def test_a_chain_adds_up_what_its_flows_give() -> None:
    flow, x = chain(), normal(5, 2)
    integration = Integration(
        Solver("rk4", steps=8), Divergence("gaussian"), regularizers=("kinetic_sum", "jacobian_mean")
    )
    eps = normal(2, 1, 5, 2, seed=3)
    whole = flow.path(x, eps, integration=integration)
    first = flow.flows[0].path(x, eps[0], integration=integration)  # type: ignore[operator]
    second = flow.flows[1].path(first.z, eps[1], integration=integration)  # type: ignore[operator]
    assert torch.equal(whole.z, second.z)
    assert torch.equal(whole.delta, first.delta + second.delta)
    for name, value in whole.integrals.items():
        assert torch.equal(value, first.integrals[name] + second.integrals[name])
    flow.counter.reset()
    flow.encode(x, integration)
    assert flow.counter.forward_evaluations == 2 * 8 * 4
    with pytest.raises(RequestError, match="at least one flow"):
        Chain([], StandardNormal(2))
