"""The autoencoder and the flow in its latent space against their formulas."""

import torch
from torch import Tensor

from replications.ot_flow.experiments.mnist.autoencoder import Autoencoder, build, size
from replications.ot_flow.experiments.mnist.declaration import MNIST
from replications.ot_flow.method import rk4


def pixels(n: int = 7, p: int = 30) -> Tensor:
    return torch.rand(n, p, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_published_sizes() -> None:
    for tier in ("cpu", "gpu", "paper"):
        config = MNIST.configure("standardised", tier)
        model = build(784, config.latent, config.width, config.layers)
        assert (size(model.autoencoder), size(model.flow)) == (201_616, 34_700)


def test_autoencoder_is_its_formula_and_normalising_changes_nothing() -> None:
    net = Autoencoder(30, 8, torch.Generator().manual_seed(0), shift=0.1, scale=0.3).double()
    x = pixels(200)
    target = (x - 0.1) / 0.3
    h = (target @ net.inward.weight.T + net.inward.bias).clamp(min=0)
    out = 1 / (1 + torch.exp(-(h @ net.outward.weight.T + net.outward.bias)))
    torch.testing.assert_close(net(x), out, rtol=0, atol=1e-14)
    torch.testing.assert_close(net.loss(x), (out - target).square().mean(), rtol=0, atol=1e-14)
    before = net(x)
    net.normalise_by(x)
    torch.testing.assert_close(net.decode(net.encode(x)), before, rtol=0, atol=1e-12)


def test_latent_points_of_training_images_have_mean_zero_and_deviation_one() -> None:
    net = Autoencoder(30, 8, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        net.inward.bias[0] = -100.0  # never active
    x = pixels(200)
    net.normalise_by(x)
    y = net.encode(x)
    assert torch.equal(y[:, 0], torch.zeros(200, dtype=torch.float64))
    torch.testing.assert_close(y.mean(0), torch.zeros(8, dtype=torch.float64), rtol=0, atol=1e-12)
    alive = net.std > 0
    assert alive.sum() >= 5
    # Divided by the deviation plus 1e-6, the deviation is that much below one.
    torch.testing.assert_close(
        y.std(0, correction=0)[alive], (net.std / (net.std + 1e-6))[alive], rtol=1e-12, atol=0
    )


def test_model_goes_from_images_to_the_base_and_back() -> None:
    model = build(30, 8, 6, generator=torch.Generator().manual_seed(1)).double()
    x, integration = pixels(), rk4(64)
    model.autoencoder.normalise_by(x)
    with torch.no_grad():
        z = model.encode(x, integration)
        assert z.shape == (7, 8)
        torch.testing.assert_close(model.decode(z, integration), model.autoencoder(x), rtol=0, atol=1e-6)
        y = model.autoencoder.encode(x)
        assert torch.equal(model.log_prob(x, integration), model.flow.log_prob(y, integration=integration))
        drawn = model.sample(5, torch.Generator().manual_seed(2), integration)
        latent = model.flow.sample(5, torch.Generator().manual_seed(2), integration)
    assert torch.equal(drawn, model.autoencoder.decode(latent))
