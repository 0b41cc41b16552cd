"""The mixtures of the tasks, and the marginal field of paths to them, by Monte Carlo, autograd and a tight solve."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchdiffeq import odeint

from bench.errors import UserError
from replications.flow_matching.paths import (
    BridgePath,
    LinearPath,
    OptimalTransportPath,
    VarianceExplodingPath,
    VariancePreservingPath,
)
from replications.tasks.mixtures.law import DRAWN_BY, RADIUS, Mixture, mixture
from replications.tasks.mixtures.marginal import marginal, velocity

PATHS = {
    "ot": OptimalTransportPath(1e-2),
    "ot without sigma_min": OptimalTransportPath(),
    "linear, noisy": LinearPath(0.2),
    "bridge": BridgePath(0.7),
    "vp": VariancePreservingPath(),
    "ve": VarianceExplodingPath(0.01, 4.0),
}
every_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
every_dim = pytest.mark.parametrize("dim", DRAWN_BY)


def points(dim: int, n: int, seed: int = 0, std: float = 1.5) -> torch.Tensor:
    return std * torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariances(law: Mixture) -> torch.Tensor:
    return torch.einsum("kij,kj,klj->kil", law.axes, law.variances, law.axes)


# The law


@every_dim
def test_the_law_is_that_of_the_stated_rule(dim: int) -> None:
    law = mixture(dim)
    assert law.weights.tolist() == pytest.approx([1 / 15, 2 / 15, 3 / 15, 4 / 15, 5 / 15], abs=1e-15)
    mean, total = law.weights @ law.means, covariances(law) + law.means[:, :, None] * law.means[:, None, :]
    assert mean.abs().max().item() < 1e-14
    assert torch.einsum("k,kii->", law.weights, total).item() / dim == pytest.approx(1, abs=1e-13)
    eye = torch.eye(dim, dtype=torch.float64).expand_as(law.axes)
    torch.testing.assert_close(law.axes @ law.axes.mT, eye, rtol=0, atol=1e-12)
    assert ((law.variances.amax(1) / law.variances.amin(1)) <= 10).all()
    assert law.dim == dim
    assert mixture(dim) is law


@every_dim
def test_the_seed_is_the_first_that_keeps_the_means_apart(dim: int) -> None:
    def nearest(seed: int) -> float:
        means = np.random.RandomState(seed).normal(size=(5, dim))
        means *= RADIUS / np.linalg.norm(means, axis=1, keepdims=True)
        return torch.pdist(torch.as_tensor(means)).min().item()

    apart = [nearest(seed) >= 2 for seed in range(1, DRAWN_BY[dim] + 1)]
    assert apart == [False] * (DRAWN_BY[dim] - 1) + [True]


def test_the_law_is_the_same_today_as_ever() -> None:
    """Entries of the first law's parts: every record on it rests on them."""
    law = mixture(2)
    assert [f"{law.log_density(x)[0]:.9f}" for x in ([[0.0, 0.0]], [[1.0, -0.5]])] == [
        "-4.800025999",
        "-1.624315042",
    ]


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(UserError, match="no mixture has 3 dimensions: choose one of 2, 8, 32"):
        mixture(3)


@every_dim
def test_the_log_density_is_that_of_torch(dim: int) -> None:
    law, x = mixture(dim), points(dim, 50)
    parts = torch.distributions.MultivariateNormal(law.means, covariances(law))
    peer = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(law.weights), parts)
    torch.testing.assert_close(law.log_prob(x), peer.log_prob(x), rtol=1e-12, atol=1e-11)
    torch.testing.assert_close(torch.as_tensor(law.log_density(x.numpy())), law.log_prob(x))
    assert law.log_prob(x.float()).dtype == torch.float64


def test_the_density_in_the_plane_has_mass_1() -> None:
    axis = np.linspace(-6, 6, 401)
    at = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    mass = np.exp(mixture(2).log_density(at)).sum() * (axis[1] - axis[0]) ** 2
    assert mass == pytest.approx(1, abs=1e-12)


@every_dim
def test_draws_have_the_moments_of_the_law(dim: int) -> None:
    law, n = mixture(dim), 20_000
    x = law.draw(n, np.random.default_rng(0))
    square = covariances(law) + law.means[:, :, None] * law.means[:, None, :]
    expected = torch.einsum("k,kij->ij", law.weights, square).numpy()
    products = x[:, :, None] * x[:, None, :]
    np.testing.assert_array_less(np.abs(x.mean(0)), 4.5 * x.std(0) / n**0.5)
    np.testing.assert_array_less(np.abs(products.mean(0) - expected), 5 * products.std(0) / n**0.5)
    # E N(X; 0, 0.3 I) / q(X) = 1 notices weights in another order than the parts'.
    if dim == 2:
        ratio = np.exp(-(x**2).sum(1) / 0.6 - law.log_density(x)) / (0.6 * np.pi)
        assert ratio.mean() == pytest.approx(1, abs=4.5 * ratio.std() / n**0.5)


def test_draws_follow_their_generator() -> None:
    first, again, other = (mixture(8).draw(5, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).all()


@every_dim
def test_the_score_is_the_gradient_of_the_log_density(dim: int) -> None:
    law, x = mixture(dim), points(dim, 20).requires_grad_()
    (gradient,) = torch.autograd.grad(law.log_prob(x).sum(), x)
    torch.testing.assert_close(law.score(x.detach()), gradient, rtol=1e-10, atol=1e-11)


# The marginal field


@every_path
@every_dim
def test_the_field_is_the_mean_of_the_conditional_velocity(path, dim: int) -> None:
    """E[g(x_t) u_t] = E[g(x_t) v(t, x_t)] for any g: bounded functions and the identity."""
    n, law = 10_000, mixture(dim)
    x0, eps = path.source_std * points(dim, n, 1, 1.0), points(dim, n, 2, 1.0)
    x1 = torch.as_tensor(law.draw(n, np.random.default_rng(3)))
    for t in (0.15, 0.6, 0.95):
        x_t, u_t = path(x0, x1, torch.tensor(t, dtype=torch.float64), eps)
        gap = u_t - velocity(law, path.coefficients, t, x_t, path.source_std)
        scale = x_t.std()
        for g in (
            torch.ones(n, 1),
            x_t / scale,
            torch.sin(2 * x_t / scale),
            torch.cos(3 * x_t[:, :1] / scale),
        ):
            each = g * gap
            assert (each.mean(0).abs() < 5 * each.std(0) / n**0.5).all()


@every_path
def test_the_marginal_is_the_law_of_the_path(path) -> None:
    n, law, t = 40_000, mixture(2), 0.7
    x0, eps = path.source_std * points(2, n, 1, 1.0), points(2, n, 2, 1.0)
    x1 = torch.as_tensor(law.draw(n, np.random.default_rng(3)))
    x_t, _ = path(x0, x1, torch.tensor(t, dtype=torch.float64), eps)
    at = marginal(law, path.coefficients, t, path.source_std)
    drawn = torch.as_tensor(at.draw(n, np.random.default_rng(4)))
    for g in (at.log_prob, lambda y: torch.sin(2 * y[:, 0] - y[:, 1]), lambda y: y[:, 0] * y[:, 1]):
        left, right = g(x_t), g(drawn)
        se = ((left.var() + right.var()) / n).sqrt().item()
        assert left.mean().item() == pytest.approx(right.mean().item(), abs=4.5 * se)


@every_path
@pytest.mark.parametrize("dim", [2, 8])
def test_the_flow_of_the_field_carries_the_first_law_to_the_last(path, dim: int) -> None:
    """The continuity equation: log p of the points at the end, by a tight solve with the exact divergence.

    Not from the first to the last time, where the slopes of some paths are nearly infinite.
    """
    law, (start, end) = mixture(dim), (0.02, 0.98)
    first, last = (marginal(law, path.coefficients, t, path.source_std) for t in (start, end))
    x = torch.as_tensor(first.draw(20, np.random.default_rng(0)))

    def field(t, state):
        with torch.enable_grad():
            y = state[0].detach().requires_grad_()
            v = velocity(law, path.coefficients, t, y, path.source_std)
            rows = [torch.autograd.grad(v[:, i].sum(), y, retain_graph=True)[0][:, i] for i in range(dim)]
        return v.detach(), -torch.stack(rows).sum(0)

    times = torch.tensor([start, end], dtype=torch.float64)
    options = {"step_t": times[1:]}
    y, log_p = odeint(
        field, (x, first.log_prob(x)), times, rtol=1e-9, atol=1e-9, method="dopri8", options=options
    )
    torch.testing.assert_close(log_p[-1], last.log_prob(y[-1]), rtol=0, atol=2e-6)


def test_a_path_without_sigma_min_ends_at_the_data() -> None:
    law, x = mixture(8), points(8, 10)
    at = marginal(law, OptimalTransportPath().coefficients, 1.0)
    torch.testing.assert_close(at.log_prob(x), law.log_prob(x), rtol=1e-13, atol=1e-12)
    noise = marginal(law, OptimalTransportPath().coefficients, 0.0)
    expected = -0.5 * x.square().sum(1) - 4 * np.log(2 * np.pi)
    torch.testing.assert_close(noise.log_prob(x), expected, rtol=1e-13, atol=1e-12)


@every_path
def test_a_time_for_each_point_is_taken(path) -> None:
    law, x = mixture(8), points(8, 6)
    t = torch.linspace(0.1, 0.9, 6, dtype=torch.float64)
    together = velocity(law, path.coefficients, t[:, None], x, path.source_std)
    alone = [
        velocity(law, path.coefficients, float(s), y[None], path.source_std)
        for s, y in zip(t, x, strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)
