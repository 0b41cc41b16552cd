import pytest
import torch
from torch import Tensor, nn

from replications.flows.fields.mlp import initialise
from replications.flows.ode.solve import Solver
from replications.neural_ode.method import ConvField, ResidualBlock, build, downsampling, ode_block


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(n, 1, 28, 28, generator=generator(5), dtype=dtype)


@pytest.mark.parametrize(
    ("network", "gradient", "expected"),
    [
        ("mlp", "backprop", 238_510),
        ("resnet", "backprop", 576_778),
        ("ode", "backprop", 208_266),
        ("ode", "adjoint", 208_266),
        ("ode", "checkpoint", 208_266),
    ],
)
def test_parameter_counts(network: str, gradient: str, expected: int) -> None:
    model = build(network, gradient, 1e-3, generator())
    assert sum(p.numel() for p in model.parameters()) == expected
    assert model(images(dtype=torch.float32)).shape == (1, 10)


def test_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match="mlp, resnet or ode"):
        build("cnn", "backprop", 1e-3)


def test_stem_leaves_six_by_six() -> None:
    """28 - 2 = 26, then floor((26 + 2 - 4) / 2) + 1 = 13, then floor((13 + 2 - 4) / 2) + 1 = 6."""
    h, sides = torch.zeros(3, 1, 28, 28), []
    for layer in downsampling():
        h = layer(h)
        if isinstance(layer, nn.Conv2d):
            sides.append(tuple(h.shape[1:]))
    assert sides == [(64, 26, 26), (64, 13, 13), (64, 6, 6)]


def test_time_enters_both_convolutions() -> None:
    field = ConvField().double()
    initialise(field, generator())
    h = torch.randn(1, 64, 6, 6, generator=generator(), dtype=torch.float64)
    early, late = (field(torch.tensor(t).double(), h) for t in (0.0, 1.0))
    assert (early - late).abs().max() > 1e-3
    with torch.no_grad():
        for layer in field.convs:
            layer.conv.weight[:, 0] = 0
    assert torch.equal(field(torch.tensor(0.0), h), field(torch.tensor(1.0), h))


def test_residual_block_adds_its_branch() -> None:
    block, h = ResidualBlock(), torch.randn(2, 64, 6, 6, generator=generator())
    nn.init.zeros_(block.branch[-1].weight)
    assert torch.equal(block(h), h)


def gradients(gradient: str, tolerance: float) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Return logits, the gradient of all parameters, and evaluations forward and backward."""
    model = build("ode", gradient, tolerance, generator()).double()
    logits = model(images())
    logits.square().sum().backward()
    block = ode_block(model)
    assert block is not None
    counts = block.counter.forward_evaluations, block.counter.backward_evaluations
    return logits.detach(), torch.cat([p.grad.flatten() for p in model.parameters()]), counts


def test_the_three_networks_are_one_function_with_one_gradient() -> None:
    logits, exact, counts = gradients("backprop", 1e-3)
    assert counts[0] > 0
    assert counts[1] == 0
    same, checkpoint, counts_checkpoint = gradients("checkpoint", 1e-3)
    assert counts_checkpoint[0] == counts[0]
    torch.testing.assert_close(same, logits, rtol=1e-10, atol=1e-12)
    assert (checkpoint - exact).norm() < 1e-10 * exact.norm()
    same, adjoint, counts_adjoint = gradients("adjoint", 1e-3)
    assert counts_adjoint[1] > 0
    torch.testing.assert_close(same, logits, rtol=1e-10, atol=1e-12)
    coarse = (adjoint - exact).norm() / exact.norm()
    exact, adjoint = (gradients(gradient, 1e-5)[1] for gradient in ("backprop", "adjoint"))
    assert 0 < (adjoint - exact).norm() / exact.norm() < min(0.1, coarse / 2)


def test_one_euler_step_is_a_residual_layer() -> None:
    model = build("ode", "backprop", 1e-3, generator()).double()
    block = ode_block(model)
    assert block is not None
    block.solver = Solver("euler", steps=1)
    h = torch.randn(1, 64, 6, 6, generator=generator(), dtype=torch.float64)
    expected = h + block.field(torch.tensor(0.0).double(), h)
    torch.testing.assert_close(block(h), expected, rtol=1e-12, atol=1e-12)


def test_other_networks_have_no_ode_block() -> None:
    assert ode_block(build("resnet", "backprop", 1e-3)) is None
