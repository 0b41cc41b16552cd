"""Convolutional fields, and the multi-scale flow made of them."""

import dataclasses
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from replications.flows.density.divergence import Divergence, exact
from replications.flows.density.integration import Integration
from replications.flows.density.multiscale import MultiScale, count_scales, squeeze, unsqueeze
from replications.flows.errors import RequestError
from replications.flows.fields.convolution import ConvField
from replications.flows.fields.pushforward import push
from replications.flows.ode.solve import Solver

TIGHT = Integration(Solver(rtol=1e-8, atol=1e-8))
STEPS = Integration(Solver("rk4", steps=2))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def flow(
    shape: tuple[int, int, int] = (1, 8, 8),
    hidden: Sequence[int] = (3,),
    integration: Integration = TIGHT,
    blocks: int = 1,
    scales: int = 0,
    zero_last: bool = False,
    learn_T: bool = False,
    seed: int = 0,
) -> MultiScale:
    """A flow far enough from the identity that an error shows."""
    draws = generator(seed)
    made = MultiScale(
        shape, lambda c: ConvField(c, hidden, draws, zero_last), blocks, scales, integration, learn_T=learn_T
    )
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if not name.endswith("root_T"):
                parameter *= 2
    return made.double()


def size(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# -- the field ------------------------------------------------------------------------------------------------


def concatenated(field: ConvField, t: float, x: Tensor) -> Tensor:
    """The network as it is written down: t is one more channel of every layer's input, zero beyond the border."""
    for i, layer in enumerate(field.layers):
        x = torch.cat((x, torch.full_like(x[:, :1], t)), 1)
        x = functional.conv2d(x, layer.weight, layer.bias, padding=1)
        x = functional.softplus(x) if i + 1 < len(field.layers) else x
    return x


@pytest.mark.parametrize("side", [1, 2, 5])
def test_field_is_the_network_with_time_as_a_channel(side: int) -> None:
    field, x = ConvField(2, (4, 3), generator()).double(), normal(3, 2, side, side + 1)
    for t in (0.0, 0.75):
        torch.testing.assert_close(
            field(torch.tensor(t), x), concatenated(field, t, x), rtol=1e-12, atol=1e-12
        )
    moved = field(torch.tensor(1.0), x) - field(torch.tensor(0.0), x)
    assert moved.abs().min() > 0


class Unaided(torch.nn.Module):
    """A field without a `pushforward` of its own: torch.func.jvp pushes its tangents."""

    def __init__(self, field: ConvField) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.field(t, x)


def test_tangents_are_those_of_forward_mode() -> None:
    field, t = ConvField(2, (4, 3), generator()).double(), torch.tensor(0.7, dtype=torch.float64)
    x, v = normal(3, 2, 5, 6), normal(2, 3, 2, 5, 6, seed=2)
    for found, expected in zip(push(field, t, x, v), push(Unaided(field), t, x, v), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_gradients_through_tangents_are_those_of_autograd() -> None:
    field, t = ConvField(2, (4, 3), generator()).double(), torch.tensor(0.7, dtype=torch.float64)
    x, v = normal(3, 2, 4, 4).requires_grad_(), normal(1, 3, 2, 4, 4, seed=2)
    by_reverse = torch.autograd.functional.jvp(lambda x: field(t, x), x, v[0], create_graph=True)
    ours = push(field, t, x, v)

    def gradients(f: Tensor, jv: Tensor) -> list[Tensor]:
        loss = f.square().sum() + (jv.reshape(x.shape) * x).square().sum()
        return list(torch.autograd.grad(loss, [x, *field.parameters()]))

    for found, expected in zip(gradients(*ours), gradients(*by_reverse), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_zeroed_last_layer_leaves_its_bias() -> None:
    field, x = ConvField(2, (4,), generator(), zero_last=True), torch.ones(1, 2, 3, 3)
    bias = field.layers[-1].bias[:, None, None].expand(2, 3, 3)
    torch.testing.assert_close(field(torch.tensor(0.3), x)[0], bias)
    assert bias.abs().min() > 0


# -- layout ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dims", "parameters"),
    [
        ((1, 28, 28), (64, 64, 64), 800_636),
        ((3, 32, 32), (64, 64, 64), 1_358_868),
        ((3, 32, 32), (64, 64), 833_812),
        ((3, 64, 64), (64, 64, 64), 1_996_116),
        ((3, 256, 256), (64, 64, 64), 4_609_236),
    ],
)
def test_published_numbers_of_parameters(
    shape: tuple[int, int, int], dims: tuple[int, ...], parameters: int
) -> None:
    draws = generator()
    assert size(MultiScale(shape, lambda c: ConvField(c, dims, draws))) == parameters


def test_learned_end_times_are_one_parameter_a_block() -> None:
    assert size(flow(blocks=2, learn_T=True)) - size(flow(blocks=2)) == 2 * 3


def test_scales_go_on_while_four_pixels_are_left() -> None:
    assert [count_scales(n, 64) for n in (4, 7, 8, 15, 16, 28, 32, 64)] == [1, 1, 2, 2, 3, 3, 4, 5]


def test_squeeze_moves_squares_of_pixels_into_channels() -> None:
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    squeezed = squeeze(x)
    for c, i, j in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 1, 1)]:
        assert torch.equal(squeezed[0, 4 * c + 2 * i + j], x[0, c, i::2, j::2])
    assert torch.equal(unsqueeze(squeezed), x)


def test_without_dynamics_z_is_the_pixels_in_the_order_of_the_splits() -> None:
    still, x = flow((1, 16, 16), zero_last=True), normal(2, 1, 16, 16)
    with torch.no_grad():
        for block in still._blocks():
            block.field.layers[-1].bias.zero_()
    first = squeeze(x)
    second = squeeze(first[:, :2])
    expected = torch.cat([part.flatten(1) for part in (first[:, 2:], second[:, 4:], second[:, :4])], 1)
    path = still.path(x)
    torch.testing.assert_close(path.z, expected)
    torch.testing.assert_close(path.delta, torch.zeros(2).double())
    torch.testing.assert_close(still.decode(expected), x)


@pytest.mark.parametrize(
    ("shape", "scales", "fault"),
    [
        ((1, 26, 26), 0, "13x13 pixels can not be squeezed"),
        ((1, 8, 7), 2, "have 1 to 1 scales"),
        ((1, 8, 8), 3, "have 1 to 2 scales"),
        ((1, 9, 8), 0, "9x8 pixels can not be squeezed"),
        ((1, 3, 8), 0, "3x8 pixels have no scale"),
    ],
)
def test_faulty_sizes_are_named(shape: tuple[int, int, int], scales: int, fault: str) -> None:
    with pytest.raises(RequestError, match=fault):
        flow(shape, scales=scales)


# -- the whole map --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scales", [0, 1])
def test_log_determinant_is_that_of_the_full_jacobian(scales: int) -> None:
    made, x = flow(scales=scales), normal(2, 1, 8, 8)
    backprop = dataclasses.replace(TIGHT, gradient="backprop")
    jacobian = torch.autograd.functional.jacobian(lambda x: made.encode(x, backprop).sum(0), x)
    delta = made.path(x).delta
    assert delta.abs().min() > 0.1
    expected = torch.linalg.slogdet(jacobian.movedim(1, 0).flatten(2)).logabsdet
    torch.testing.assert_close(delta, expected, rtol=1e-6, atol=1e-6)


def test_decode_undoes_encode_and_the_path_ends_there() -> None:
    made, x = flow((2, 16, 16), blocks=2), normal(3, 2, 16, 16)
    z = made.encode(x)
    assert (z - flow((2, 16, 16), blocks=2, seed=1).encode(x)).abs().max() > 0.1
    torch.testing.assert_close(made.decode(z), x, rtol=0, atol=1e-6)
    path = made.path(
        x, generator=generator(), integration=dataclasses.replace(TIGHT, divergence=Divergence("gaussian"))
    )
    torch.testing.assert_close(path.z, z, rtol=0, atol=1e-6)


def test_samples_have_the_shape_of_images() -> None:
    made = flow((2, 8, 8), integration=STEPS)
    first, again, other = (made.sample(3, generator(seed)) for seed in (0, 0, 1))
    assert first.shape == (3, 2, 8, 8)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_gradient_is_that_of_finite_differences_and_reaches_every_parameter() -> None:
    integration = dataclasses.replace(
        STEPS, divergence=Divergence("rademacher"), regularizers=("kinetic_half_mean",)
    )
    made, x = flow(integration=integration, blocks=2, learn_T=True), normal(4, 1, 8, 8)

    def objective() -> Tensor:
        path = made.path(x, generator=generator())
        each = made.prior.log_prob(path.z) + path.delta + path.integrals["kinetic_half_mean"]
        return each.mean()

    objective().backward()
    slope, h, values = 0.0, 1e-5, []
    moves = [normal(*p.shape, seed=seed) for seed, p in enumerate(made.parameters())]
    for (name, parameter), move in zip(made.named_parameters(), moves, strict=True):
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
        slope += float((parameter.grad * move).sum())
    with torch.no_grad():
        for sign in (1, -2):
            for parameter, move in zip(made.parameters(), moves, strict=True):
                parameter += sign * h * move
            values.append(objective().item())
    assert slope == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-6)


def test_evaluations_of_all_blocks_are_counted() -> None:
    made, x = flow(integration=STEPS, blocks=2), normal(2, 1, 8, 8)
    made.log_prob(x).sum().backward()
    assert made.counter.forward_evaluations == made.counter.backward_evaluations == 6 * 2 * 4


# -- probes and regularizers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_drawn_probes_are_those_of_the_path(kind: str) -> None:
    integration = dataclasses.replace(STEPS, divergence=Divergence(kind, 2))
    made, x = flow((1, 8, 8), blocks=2), normal(3, 1, 8, 8)
    eps = made.draw(x, generator(), integration)
    assert eps.shape == (2, 3, 2 * (64 + 64 + 32))
    given, drawn, other = (
        made.log_prob(x, *args, integration=integration) for args in ((eps,), (None, generator()), (-eps,))
    )
    assert torch.equal(given, drawn)
    torch.testing.assert_close(given, other)
    assert not torch.allclose(given, made.log_prob(x, generator=generator(1), integration=integration))
    assert made.draw(x, generator(), STEPS) is None


def test_estimate_is_unbiased() -> None:
    integration = Integration(Solver("rk4", steps=2), Divergence("gaussian"))
    made, n = flow((1, 8, 8)), 1000
    x = normal(1, 1, 8, 8)
    with torch.no_grad():
        found = made.path(x.expand(n, 1, 8, 8), generator=generator(), integration=integration).delta
        expected = made.path(x, integration=STEPS).delta
    assert found.std() > 0.1
    assert abs(found.mean() - expected) < 4 * found.std() / n**0.5


def test_kinetic_energy_is_a_sum_of_means_over_each_blocks_own_dimensions() -> None:
    # Constant fields f = b of each channel: the means are over channels, the sums over pixels too.
    names = ("kinetic_half_mean", "kinetic_sum")
    made = flow(integration=dataclasses.replace(STEPS, regularizers=names), zero_last=True)
    integrals = made.path(normal(2, 1, 8, 8)).integrals
    squares = [block.field.layers[-1].bias.square() for block in made._blocks()]
    pixels = (64, 16, 16)  # (1, 8, 8), (4, 4, 4) and, after the split, (2, 4, 4)
    expected = (
        0.5 * sum(b.mean() for b in squares),
        sum(n * b.sum() for n, b in zip(pixels, squares, strict=True)),
    )
    for name, value in zip(names, expected, strict=True):
        torch.testing.assert_close(integrals[name], value.expand(2), rtol=1e-10, atol=0)


def test_jacobian_norm_is_a_sum_of_means_over_each_blocks_own_dimensions() -> None:
    # Fields of one layer are affine: their Jacobians do not depend on the path.
    made = flow(hidden=(), integration=dataclasses.replace(STEPS, regularizers=("jacobian_mean",)))
    expected = 0.0
    for block, shape in zip(made._blocks(), [(1, 8, 8), (4, 4, 4), (2, 4, 4)], strict=True):
        at = exact(block.field, torch.tensor(0.0).double(), normal(1, *shape), frobenius=True)
        expected += at.frobenius.item() / math.prod(shape)
    found = made.path(normal(2, 1, 8, 8)).integrals["jacobian_mean"]
    torch.testing.assert_close(found, torch.full((2,), expected, dtype=torch.float64), rtol=1e-10, atol=0)


def test_every_block_draws_its_own_end_time() -> None:
    made, x = flow(integration=STEPS, zero_last=True), normal(1, 1, 8, 8)
    with torch.no_grad():
        for block in made._blocks():
            block.field.layers[-1].bias.fill_(1.0)
    integration = dataclasses.replace(STEPS, b=0.5, regularizers=("kinetic_half_mean",))
    draws = generator()
    ends = [1 + 0.5 * (2 * torch.rand((), generator=draws, dtype=torch.float64).item() - 1) for _ in range(3)]
    energy = (
        made.path(x, generator=generator(), integration=integration).integrals["kinetic_half_mean"].item()
    )
    assert energy == pytest.approx(0.5 * sum(ends), rel=1e-6)
    assert len(set(ends)) == 3
