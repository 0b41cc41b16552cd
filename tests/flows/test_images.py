import math

import pytest
import torch
from torch import Tensor

from replications.flows.density.cnf import CNF
from replications.flows.density.images import (
    Centre,
    Logit,
    UnitCubeFlow,
    bits_per_dim,
    dequantise,
    importance_log_prob,
)
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.errors import RequestError
from replications.flows.fields.mlp import MlpField
from replications.flows.ode.solve import Solver

TIGHT = Integration(Solver(rtol=1e-9, atol=1e-9))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, generator=generator(seed), dtype=torch.float64)


def cube_flow(dim: int, alpha: float) -> UnitCubeFlow:
    field = MlpField(dim, (8, 8), generator())
    with torch.no_grad():
        for weight in field.parameters():
            weight *= 3
    return UnitCubeFlow(CNF(field, StandardNormal(dim), TIGHT), alpha).double()


# -- dequantisation and bits ----------------------------------------------------------------------------------


def test_noise_stays_in_the_cell_of_its_value() -> None:
    v = torch.arange(256, dtype=torch.uint8).repeat(40, 1)
    u = 256 * dequantise(v, 256, generator()).double() - v
    assert 0 <= u.min() < 0.02
    assert 0.98 < u.max() <= 1
    assert u.mean().item() == pytest.approx(0.5, abs=4 * (12 * u.numel()) ** -0.5)
    first, again, other = (dequantise(v, 256, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_noise_values_lie_at_the_centres_of_their_cells() -> None:
    v = torch.tensor([0, 16], dtype=torch.uint8)
    torch.testing.assert_close(dequantise(v, 17, None), torch.tensor([0.5 / 17, 16.5 / 17]))


def test_uniform_density_needs_the_bits_of_its_levels() -> None:
    log_p = torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(bits_per_dim(log_p, 784, 256), log_p + 8)
    torch.testing.assert_close(bits_per_dim(log_p, 784, 32), log_p + 5)


@pytest.mark.parametrize("width", [0.5, 1 / 256])
def test_density_on_a_part_of_the_cube_needs_fewer_bits(width: float) -> None:
    # Uniform on a cube of side w: p = w^-D, hence 8 + log2 w bits; none at all where the part is one cell.
    log_p = torch.tensor(-49 * math.log(width), dtype=torch.float64)
    assert bits_per_dim(log_p, 49, 256).item() == pytest.approx(8 + math.log2(width), abs=1e-12)


def test_importance_samples_are_averaged_as_probabilities() -> None:
    flow, v = cube_flow(4, 0.05), torch.tensor([[3, 0, 7, 5], [1, 1, 2, 6]], dtype=torch.uint8)
    ours = importance_log_prob(flow, v, 8, 3, generator())
    draws, each = generator(), []
    for _ in range(3):
        each.append(flow.log_prob(dequantise(v, 8, draws).double()))
    torch.testing.assert_close(ours, torch.stack(each).exp().mean(0).log(), rtol=1e-10, atol=1e-10)
    assert (ours > torch.stack(each).mean(0)).all()  # tighter than the mean of the bounds
    assert torch.equal(importance_log_prob(flow, v, 8, 1, generator()), each[0])
    with pytest.raises(RequestError, match="at least 1 sample"):
        importance_log_prob(flow, v, 8, 0, generator())


def test_importance_samples_tend_to_the_probability_of_the_cell() -> None:
    flow, levels, samples = cube_flow(1, 0.05), 4, 400
    v = torch.arange(levels, dtype=torch.uint8)[:, None]
    with torch.no_grad():
        ours = importance_log_prob(
            flow, v, levels, samples, generator(), Integration(Solver("rk4", steps=20))
        )
        inside = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
        cells = ((v.double() + inside) / levels).reshape(-1, 1)
        density = (
            flow.log_prob(cells, integration=Integration(Solver("rk4", steps=20))).exp().reshape(levels, -1)
        )
    error = density.std(1) / density.mean(1) / samples**0.5
    assert ((ours - density.mean(1).log()).abs() < 4 * error).all()
    bits = bits_per_dim(
        ours, 1, levels
    )  # with each cell's probability P = 2^-bits, of all cells together nearly one
    assert (2**-bits).sum().item() == pytest.approx(density.mean().item(), abs=0.05)


def test_centring_is_undone_and_its_log_determinant_is_that_of_its_jacobian() -> None:
    x = uniform(5, 2, 3)
    y, log_det = Centre()(x)
    assert y.abs().max() <= 1
    torch.testing.assert_close(Centre().inverse(y), x, rtol=1e-14, atol=1e-14)
    jacobian = torch.autograd.functional.jacobian(lambda x: Centre()(x)[0].sum(0), x).movedim(2, 0)
    expected = torch.linalg.slogdet(jacobian.reshape(5, 6, 6)).logabsdet
    torch.testing.assert_close(log_det, expected, rtol=1e-12, atol=1e-12)


# -- logit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1e-6, 0.05])
def test_logit_is_undone_and_its_log_determinant_is_that_of_its_jacobian(alpha: float) -> None:
    logit, x = Logit(alpha), uniform(5, 2, 3)
    y, log_det = logit(x)
    torch.testing.assert_close(logit.inverse(y), x, rtol=1e-12, atol=1e-12)
    jacobian = torch.autograd.functional.jacobian(lambda x: logit(x)[0].sum(0), x).movedim(2, 0)
    expected = torch.linalg.slogdet(jacobian.reshape(5, 6, 6)).logabsdet
    torch.testing.assert_close(log_det, expected, rtol=1e-12, atol=1e-12)


def test_logit_is_finite_at_the_faces_and_exact_near_one_in_float32() -> None:
    logit = Logit(1e-6)
    faces, _ = logit(torch.tensor([[0.0, 1.0]]))
    assert faces[0, 1].item() == pytest.approx(-faces[0, 0].item(), rel=1e-6)
    assert faces[0, 1].item() == pytest.approx(math.log(1e6 - 1), rel=1e-6)
    x = 1 - 3 * 2.0**-24  # a float32, but 1 - s is not next to it
    exact, _ = logit(torch.tensor([[x]], dtype=torch.float64))
    torch.testing.assert_close(logit(torch.tensor([[x]]))[0].double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("alpha", [0.0, 0.5, -1.0])
def test_alpha_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(RequestError, match="alpha must lie"):
        Logit(alpha)


# -- a flow on the cube ---------------------------------------------------------------------------------------


def test_flow_on_the_cube_is_one_map_with_one_jacobian() -> None:
    flow, x = cube_flow(3, 0.05), uniform(4, 3)
    backprop = Integration(TIGHT.solver, gradient="backprop")
    jacobian = torch.autograd.functional.jacobian(lambda x: flow.encode(x, backprop).sum(0), x).movedim(1, 0)
    path = flow.path(x)
    torch.testing.assert_close(path.delta, torch.linalg.slogdet(jacobian).logabsdet, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(path.z, flow.encode(x), rtol=0, atol=1e-7)
    torch.testing.assert_close(flow.decode(path.z), x, rtol=0, atol=1e-7)
    assert flow.counter.forward_evaluations > 0


def test_density_on_the_interval_integrates_to_one() -> None:
    # The image of the base is [-e, 1 + e] with e = alpha / (1 - 2 alpha); the midpoint rule takes no end point.
    flow, n = cube_flow(1, 0.05), 2000
    e = 0.05 / 0.9
    x = -e + (1 + 2 * e) * (torch.arange(n, dtype=torch.float64)[:, None] + 0.5) / n
    with torch.no_grad():
        density = flow.log_prob(x).exp()
    assert (density.sum() * (1 + 2 * e) / n).item() == pytest.approx(1, abs=1e-4)
    assert density.std() > 0.1


@pytest.mark.parametrize("v", [[0.5, 3.0], [-1.0, 3.0], [0.0, 8.0], [math.nan, 1.0], [0, 255]])
def test_values_that_are_no_levels_are_refused(v: list[float]) -> None:
    for source in (None, generator()):
        with pytest.raises(RequestError, match=r"whole and within 0\.\.7, got .*: give the raw levels"):
            dequantise(torch.tensor(v), 8, source)
    assert dequantise(torch.tensor([0, 7], dtype=torch.uint8), 8, None).tolist() == [0.0625, 0.9375]
    assert dequantise(torch.tensor([255], dtype=torch.uint8), 256, None).item() == 255.5 / 256
