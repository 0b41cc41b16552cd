"""Conditional paths against their time derivatives, their ends and the papers' formulas; marginals in closed form."""

import math
from collections.abc import Callable

import pytest
import torch
from marginal import GaussianMixture, marginal, marginal_field
from torch import Tensor

from bench.errors import UserError
from replications.flow_matching.paths import (
    BridgePath,
    ConditionalPath,
    LinearPath,
    OptimalTransportPath,
    VarianceExplodingPath,
    VariancePreservingPath,
)

PATHS: dict[str, ConditionalPath] = {
    "optimal transport": OptimalTransportPath(0.1),
    "linear": LinearPath(),
    "linear, noisy": LinearPath(0.3),
    "bridge": BridgePath(0.7),
    "variance preserving": VariancePreservingPath(),
    "variance exploding": VarianceExplodingPath(0.05, 6.0),
}
TARGET = GaussianMixture(
    torch.tensor([[1.5, -0.5], [-1.0, 0.8], [0.2, 2.0]], dtype=torch.float64),
    torch.tensor([[0.3, 0.1], [0.05, 0.4], [0.2, 0.2]], dtype=torch.float64),
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def time(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def rate(f: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
    """df/dt where each row of f depends on its own time: the derivative, by w, of the product w^T df/dt."""
    t = t.clone().requires_grad_()
    y = f(t)
    w = torch.zeros_like(y, requires_grad=True)
    (product,) = torch.autograd.grad(y, t, w, create_graph=True)
    return torch.autograd.grad(product.sum(), w)[0]


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> ConditionalPath:
    return PATHS[request.param]


# -- conditional ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 2), (7, 1, 3, 4)])
def test_target_is_the_time_derivative_of_the_conditional_flow(
    path: ConditionalPath, shape: tuple[int, ...]
) -> None:
    x0, x1, noise = (normal(*shape, seed=seed) for seed in (1, 2, 3))
    t = torch.linspace(0.02, 0.98, 7, dtype=torch.float64).reshape(7, *(1 for _ in shape[1:]))
    slope = rate(lambda t: path(x0, x1, t, noise)[0], t)
    x_t, u_t = path(x0, x1, t, noise)
    assert x_t.shape == u_t.shape == shape
    torch.testing.assert_close(u_t, slope, rtol=1e-10, atol=1e-10)


def test_coefficients_are_those_of_the_conditional_flow(path: ConditionalPath) -> None:
    x0, x1, noise = (normal(7, 2, seed=seed) for seed in (1, 2, 3))
    t = torch.linspace(0.02, 0.98, 7, dtype=torch.float64)[:, None]
    c = path.coefficients(t)
    x_t, u_t = path(x0, x1, t, noise)
    torch.testing.assert_close(c.alpha * x1 + c.sigma * x0 + c.gamma * noise, x_t, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        c.d_alpha * x1 + c.d_sigma * x0 + c.d_gamma * noise, u_t, rtol=1e-10, atol=1e-10
    )


def test_a_scalar_time_is_the_same_time_for_all(path: ConditionalPath) -> None:
    x0, x1, noise = (normal(5, 2, seed=seed) for seed in (1, 2, 3))
    for one, each in zip(
        path(x0, x1, time(0.4), noise), path(x0, x1, time(0.4).expand(5, 1), noise), strict=True
    ):
        torch.testing.assert_close(one, each, rtol=1e-14, atol=1e-14)


def test_last_and_first_time_give_in_float32_what_they_give_in_float64(path: ConditionalPath) -> None:
    """Where sigma_t' grows without bound, and a difference of nearly equal numbers would lose all its digits."""
    x0, x1, noise = (normal(5, 2, seed=seed).float() for seed in (1, 2, 3))
    for t in path.times:
        single = path(x0, x1, torch.tensor(t), noise)
        double = path(x0.double(), x1.double(), torch.tensor(t).double(), noise.double())
        for one, exact in zip(single, double, strict=True):
            torch.testing.assert_close(one.double(), exact, rtol=1e-2, atol=1e-5)


def test_data_is_at_the_end_and_the_source_at_the_start(path: ConditionalPath) -> None:
    n, (start, end) = 100_000, path.times
    x1, noise = torch.full((n,), 0.7, dtype=torch.float64), normal(n, seed=2)
    x0 = path.source_std * normal(n)
    last, first = (path(x0, x1, time(t), noise)[0] for t in (end, start))
    spread = {OptimalTransportPath: 0.1, LinearPath: getattr(path, "sigma", 0.0)}.get(type(path), 0.0)
    assert last.mean().item() == pytest.approx(0.7, abs=5e-3)
    assert last.std().item() == pytest.approx(spread, abs=2e-2)
    # What is left of the data at the start: all of it for the exploding path, whose source is the wider for it.
    left = {VariancePreservingPath: 0.7 * math.exp(-20.1 / 4), VarianceExplodingPath: 0.7}.get(
        type(path), 0.0
    )
    extra = getattr(path, "sigma", 0.0) if type(path) is LinearPath else 0.0
    assert first.mean().item() == pytest.approx(left, abs=0.02 * path.source_std)
    assert first.std().item() == pytest.approx(math.hypot(path.source_std, extra), rel=0.01)


def test_optimal_transport_is_a_straight_line_of_constant_speed() -> None:
    x0, x1 = normal(5, 2), normal(5, 2, seed=2)
    path = OptimalTransportPath(0.1)
    (early, u), (late, w) = path(x0, x1, time(0.2)), path(x0, x1, time(0.7))
    torch.testing.assert_close(u, w)
    torch.testing.assert_close(late - early, 0.5 * u)
    torch.testing.assert_close(early, (1 - 0.9 * 0.2) * x0 + 0.2 * x1)


def test_diffusions_are_the_papers_fields_of_their_states() -> None:
    x0, x1, t = normal(6, 2), normal(6, 2, seed=2), torch.linspace(0.1, 0.9, 6, dtype=torch.float64)[:, None]
    x_t, u_t = VariancePreservingPath()(x0, x1, t)
    s = 1 - t
    integral, beta = 0.1 * s + 0.5 * 19.9 * s**2, 0.1 + 19.9 * s
    printed = (
        -0.5
        * beta
        * (torch.exp(-integral) * x_t - torch.exp(-0.5 * integral) * x1)
        / (1 - torch.exp(-integral))
    )
    torch.testing.assert_close(u_t, printed, rtol=1e-10, atol=1e-10)
    x_t, u_t = VarianceExplodingPath(0.05, 6.0)(x0, x1, t)
    s = s.clone().requires_grad_()
    log_sigma = (0.05 * ((6.0 / 0.05) ** (2 * s) - 1).sqrt()).log()
    rate = torch.autograd.grad(log_sigma.sum(), s)[0]
    torch.testing.assert_close(u_t, -rate * (x_t - x1), rtol=1e-10, atol=1e-10)


def test_bridge_is_the_papers_field_of_its_state() -> None:
    x0, x1, noise = (normal(6, 2, seed=seed) for seed in (1, 2, 3))
    t = torch.linspace(0.1, 0.9, 6, dtype=torch.float64)[:, None]
    x_t, u_t = BridgePath(0.7)(x0, x1, t, noise)
    printed = (1 - 2 * t) / (2 * t * (1 - t)) * (x_t - t * x1 - (1 - t) * x0) + x1 - x0
    torch.testing.assert_close(u_t, printed, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(x_t - t * x1 - (1 - t) * x0, 0.7 * (t * (1 - t)).sqrt() * noise)


# -- marginal -------------------------------------------------------------------------------------------------


def by_quadrature(
    path: ConditionalPath, target: GaussianMixture, t: Tensor, x: Tensor, n: int = 1500
) -> Tensor:
    """E[u_t given x_t = x] of one point on the line, by a sum over x1; u_t then depends on x alone, by regression."""
    reach = 12.0
    x1 = torch.linspace(-reach, reach, n, dtype=torch.float64)
    c = path.coefficients(t)
    noise = (path.source_std * c.sigma).square() + c.gamma.square()
    rate = (path.source_std**2 * c.sigma * c.d_sigma + c.gamma * c.d_gamma) / noise
    weights = (target.log_prob(x1[:, None]) - 0.5 * (x - c.alpha * x1).square() / noise).softmax(0)
    return (weights * (c.d_alpha * x1 + rate * (x - c.alpha * x1))).sum()


@pytest.mark.parametrize("parts", [1, 2])
def test_marginal_field_is_the_mean_of_the_conditional_ones(path: ConditionalPath, parts: int) -> None:
    means = torch.tensor([[1.2], [-0.9]], dtype=torch.float64)[:parts]
    target = GaussianMixture(means, torch.tensor([[0.2], [0.5]], dtype=torch.float64)[:parts])
    for at in (0.15, 0.5, 0.8):
        for point in (-1.0, 0.3, 1.6):
            x = torch.tensor([[point]], dtype=torch.float64)
            ours = marginal_field(path, target, time(at), x)
            torch.testing.assert_close(
                ours.squeeze(), by_quadrature(path, target, time(at), time(point)), rtol=1e-8, atol=1e-8
            )


@pytest.mark.parametrize("at", [0.2, 0.55, 0.9])
def test_marginal_field_is_the_regression_of_the_targets(path: ConditionalPath, at: float) -> None:
    """E[phi(x_t) (u_t - u_t(x_t))] = 0 for any phi: the field is the projection of the targets, no more, no less."""
    n = 200_000
    x1 = TARGET.sample(n, generator(), dtype=torch.float64)
    x0, noise = path.source_std * normal(n, 2), normal(n, 2, seed=2)
    x_t, u_t = path(x0, x1, time(at), noise)
    residual = u_t - marginal_field(path, TARGET, time(at), x_t)
    for phi in (torch.ones_like(x_t), x_t, x_t.flip(1), x_t.cos()):
        product = phi * residual
        assert (product.mean(0).abs() < 5 * product.std(0) / n**0.5).all()
    wrong = residual + 0.1 * u_t.std()  # a field that is off by a tenth of the targets' spread is seen
    assert (wrong.mean(0).abs() > 5 * wrong.std(0) / n**0.5).all()


def test_marginal_field_of_a_gaussian_is_its_closed_form() -> None:
    m, s2, t, x = time(1.3), time(0.4), time(0.6), normal(5, 1)
    target = GaussianMixture(m.reshape(1, 1), s2.reshape(1, 1))
    # x_t = t x1 + (1 - t) x0 ~ N(t m, V), V = t^2 s2 + (1 - t)^2: u = m + (t s2 - (1 - t)) / V (x - t m).
    v = t**2 * s2 + (1 - t) ** 2
    expected = m + (t * s2 - (1 - t)) / v * (x - t * m)
    torch.testing.assert_close(marginal_field(LinearPath(), target, t, x), expected, rtol=1e-12, atol=1e-12)


def test_marginal_density_and_field_obey_the_continuity_equation(path: ConditionalPath) -> None:
    x, t = normal(6, 2), torch.linspace(0.1, 0.9, 6, dtype=torch.float64)[:, None]
    score = torch.autograd.functional.jacobian(lambda x: marginal(path, TARGET, t).log_prob(x).sum(), x)
    jacobian = torch.autograd.functional.jacobian(lambda x: marginal_field(path, TARGET, t, x).sum(0), x)
    divergence = jacobian[0, :, 0] + jacobian[1, :, 1]
    transport = (marginal_field(path, TARGET, t, x) * score).sum(1)
    change = rate(lambda t: marginal(path, TARGET, t).log_prob(x), t) + transport + divergence
    torch.testing.assert_close(change, torch.zeros_like(change), rtol=0, atol=1e-9)


def test_a_time_for_each_point_equals_one_call_each(path: ConditionalPath) -> None:
    x, t = normal(4, 2), torch.linspace(0.1, 0.9, 4, dtype=torch.float64)[:, None]
    each = torch.cat([marginal_field(path, TARGET, t[i, 0], x[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(marginal_field(path, TARGET, t, x), each, rtol=1e-12, atol=1e-12)


def test_mixture_density_and_samples() -> None:
    x = TARGET.sample(50_000, generator(), dtype=torch.float64)
    torch.testing.assert_close(x.mean(0), TARGET.means.mean(0), rtol=0, atol=0.03)
    second = (TARGET.variances + TARGET.means.square()).mean(0)
    torch.testing.assert_close(x.square().mean(0), second, rtol=0.03, atol=0)
    parts = [
        torch.distributions.Normal(m, v.sqrt()).log_prob(x[:9]).sum(1)
        for m, v in zip(TARGET.means, TARGET.variances, strict=True)
    ]
    torch.testing.assert_close(
        TARGET.log_prob(x[:9]), torch.stack(parts).exp().mean(0).log(), rtol=1e-12, atol=1e-12
    )
    assert torch.equal(TARGET.sample(4, generator(1)), TARGET.sample(4, generator(1)))
    assert not torch.equal(TARGET.sample(4, generator(1)), TARGET.sample(4, generator(2)))


# -- faults ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: OptimalTransportPath(1.0), "sigma_min"),
        (lambda: LinearPath(-0.1), "not be negative"),
        (lambda: BridgePath(0.0), "must be positive"),
        (lambda: VariancePreservingPath(0.0), "beta_min"),
        (lambda: VarianceExplodingPath(2.0, 1.0), "sigma_min < sigma_max"),
    ],
)
def test_faults_are_named(build: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build()  # type: ignore[operator]


@pytest.mark.parametrize("path", [LinearPath(0.3), BridgePath()])
def test_missing_noise_is_named(path: ConditionalPath) -> None:
    with pytest.raises(UserError, match="pass noise"):
        path(normal(3, 2), normal(3, 2), time(0.5))
