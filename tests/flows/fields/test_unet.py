"""The U-Net: its parts from their formulas, sizes, independence of images, and its products with the Jacobian."""

import pytest
import torch
from torch import Tensor

from replications.flows.density.divergence import Divergence, exact
from replications.flows.errors import RequestError
from replications.flows.fields.pushforward import push
from replications.flows.fields.unet import Attention, Residual, UNet, time_features


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def unet(side: int = 8, classes: int = 3, draw: int = 0, **options: object) -> UNet:
    settings = {"mult": (1, 2), "depth": 1, "attention": (4,), "head_channels": 4, **options}
    return UNet((2, side, side), 4, generator(draw), classes=classes, **settings).double()  # type: ignore[arg-type]


def moved(net: UNet) -> UNet:
    """The network with every parameter drawn, those that start at zero too."""
    with torch.no_grad():
        for seed, parameter in enumerate(net.parameters()):
            parameter.copy_(0.3 * normal(*parameter.shape, seed=seed))
    return net


T = torch.tensor(0.6, dtype=torch.float64)


@pytest.mark.parametrize(("channels", "parameters"), [(128, 35_746_307)])
def test_size_of_the_published_network(channels: int, parameters: int) -> None:
    # What the code of tong2024improving has with 128 channels, multiples 1, 2, 2, 2, two blocks, attention at 16.
    assert sum(p.numel() for p in UNet((3, 32, 32), channels, generator()).parameters()) == parameters


@pytest.mark.parametrize("side", [14, 28, 9, 1])
def test_odd_sizes_meet_again(side: int) -> None:
    net = moved(unet(side, mult=(1, 1, 2), attention=(4,)))
    x = normal(2, 2, side, side)
    v = net(T, x)
    assert v.shape == (2, 2, side, side)
    # Every pixel and every size counts: the change of v is its Jacobian times that of x, the last row and column too.
    step, h = torch.zeros_like(x), 1e-6
    step[:, :, -1], step[:, :, :, -1] = 1.0, -0.5
    difference = (net(T, x + h * step) - net(T, x - h * step)) / (2 * h)
    assert difference[:, :, -1, -1].abs().min() > 1e-3
    torch.testing.assert_close(push(net, T, x, step[None])[1][0], difference, rtol=1e-5, atol=1e-6)


def test_untrained_it_is_zero_and_only_the_outlet_learns_at_first() -> None:
    net, x = unet(), normal(3, 2, 8, 8)
    assert not net(T, x).any()
    net(T, x).sum().backward()
    assert net.outlet.bias.grad is not None
    assert net.outlet.bias.grad.all()


def test_gradient_reaches_every_parameter() -> None:
    net, x = moved(unet()), normal(3, 2, 8, 8)
    net(T, x, torch.tensor([0, 1, 2])).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        if name != "embedding.classes.weight":
            assert parameter.grad.abs().sum() > 0, name
    rows = net.embedding.classes.weight.grad.abs().sum(1)  # type: ignore[union-attr]
    assert (rows > 0).tolist() == [True, True, True, False]  # no image was of no class


def test_no_image_influences_another() -> None:
    net, x, labels = moved(unet()), normal(4, 2, 8, 8), torch.tensor([2, 0, 1, 3])
    t = torch.linspace(0.1, 0.9, 4, dtype=torch.float64)
    each = torch.cat([net(t[i], x[i : i + 1], labels[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(net(t, x, labels), each, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(net(t[:, None, None, None], x, labels), each, rtol=1e-10, atol=1e-10)


def test_time_and_class_matter_and_no_label_is_the_last_class() -> None:
    net, x = moved(unet()), normal(3, 2, 8, 8)
    zeros, nulls = torch.zeros(3, dtype=torch.long), torch.full((3,), 3)
    base = net(T, x, zeros)
    assert (net(T + 0.3, x, zeros) - base).abs().amax((1, 2, 3)).min() > 1e-3
    assert (net(T, x, zeros + 1) - base).abs().amax((1, 2, 3)).min() > 1e-3
    torch.testing.assert_close(net(T, x), net(T, x, nulls), rtol=1e-12, atol=1e-12)


def test_initialisation_depends_on_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = unet(draw=3)
    torch.manual_seed(2)
    again, other = unet(draw=3), unet(draw=4)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(not torch.equal(a, c) for a, c in zip(first.parameters(), other.parameters(), strict=True))


def test_time_features_are_waves() -> None:
    t = torch.tensor([0.0, 0.5], dtype=torch.float64)
    features = time_features(t, 6)
    w = torch.tensor([1.0, 10 ** (-4 / 3), 10 ** (-8 / 3)], dtype=torch.float64)
    expected = torch.cat(((0.5 * w).cos(), (0.5 * w).sin()))
    torch.testing.assert_close(features[1], expected, rtol=1e-12, atol=1e-12)
    assert features[0].tolist() == [1, 1, 1, 0, 0, 0]


def test_attention_is_its_formula() -> None:
    layer, x = Attention(8, 4).double(), normal(2, 8, 3, 2)
    h = layer.norm(x).flatten(2)  # (B, C, N)
    weight, bias = layer.qkv.weight[:, :, 0, 0], layer.qkv.bias
    q, k, v = torch.einsum("oc,bcn->bon", weight, h).add(bias[:, None]).chunk(3, 1)  # type: ignore[index]
    out = []
    for rows in (slice(0, 4), slice(4, 8)):
        scores = torch.einsum("bcn,bcm->bnm", q[:, rows], k[:, rows]) / 4**0.5
        out.append(torch.einsum("bnm,bcm->bcn", scores.softmax(2), v[:, rows]))
    expected = x + layer.out(torch.cat(out, 1).reshape(x.shape))
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


def test_residual_block_is_its_formula() -> None:
    block, x, shift = Residual(4, 8).double(), normal(2, 4, 5, 5), normal(2, 8, seed=2)
    silu = torch.nn.functional.silu
    h = block.conv_in(silu(block.norm_in(x))) + shift[..., None, None]
    expected = block.skip(x) + block.conv_out(silu(block.norm_out(h)))
    torch.testing.assert_close(block(x, shift), expected, rtol=1e-12, atol=1e-12)


def test_products_and_divergence_are_those_of_the_jacobian() -> None:
    net, x = moved(unet(side=4, attention=(4, 2))), normal(2, 2, 4, 4)
    full = torch.stack(
        [torch.autograd.functional.jacobian(lambda y: net(T, y[None])[0].flatten(), image) for image in x]
    ).flatten(2)
    v = normal(3, 2, 2, 4, 4, seed=2)
    f, jv = push(net, T, x, v)
    torch.testing.assert_close(f, net(T, x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        jv.flatten(2), torch.einsum("bij,kbj->kbi", full, v.flatten(2)), rtol=1e-9, atol=1e-9
    )
    trace = full.diagonal(dim1=1, dim2=2).sum(1)
    assert trace.abs().min() > 1e-3
    torch.testing.assert_close(exact(net, T, x).divergence, trace, rtol=1e-9, atol=1e-9)
    estimate = Divergence("gaussian", 3)(net, T, x, v).divergence
    torch.testing.assert_close(
        estimate, torch.einsum("kbi,bij,kbj->b", v.flatten(2), full, v.flatten(2)) / 3, rtol=1e-9, atol=1e-9
    )


def test_faults_are_named() -> None:
    with pytest.raises(RequestError, match="even number of channels"):
        UNet((1, 8, 8), 5, generator())
    with pytest.raises(RequestError, match="heads of 6"):
        unet(head_channels=6, mult=(1, 2))
