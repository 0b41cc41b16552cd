"""The extractors' own mathematics: the MNIST network's recipe at a small size, and the map of 2-D points."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from bench.data import images, toy2d
from bench.errors import UserError
from bench.metrics.fidelity import mnist_cnn
from bench.metrics.fidelity.extractors import EXTRACTORS, get
from bench.metrics.fidelity.mnist_cnn import Network, Recipe, accuracy, train
from bench.metrics.fidelity.points import PointFeatures

SMALL = Recipe(epochs=6, batch=32, rate=2e-3)


@pytest.fixture(scope="module")
def digits():
    """Scikit-learn's digits on the scale 0..255, train and test."""
    return [
        ((data.images.float() * 255 / data.white).round().byte(), data.labels)
        for data in (images.load("digits", part) for part in ("train", "test"))
    ]


def weights_of(network):
    return torch.cat([parameter.flatten() for parameter in network.state_dict().values()])


def test_recipe_learns_digits_of_another_size_and_scales_its_features(digits):
    (x, y), (test_x, test_y) = digits
    network = train(x[:500], y[:500], SMALL)
    assert accuracy(network, test_x, test_y) > 75  # chance is 10
    assert accuracy(Network(torch.Generator()), test_x, test_y) < 30
    with torch.no_grad():
        features, logits = network(x[:500])
        assert features.square().mean().item() == pytest.approx(1, abs=1e-5)
        torch.testing.assert_close(network.head(features * network.scale), logits)
    assert features.shape == (500, 64)
    assert logits.shape == (500, 10)


def test_training_follows_its_seed_alone(digits):
    (x, y), _ = digits
    recipe = Recipe(epochs=1)
    torch.manual_seed(1)
    first = weights_of(train(x[:200], y[:200], recipe))
    torch.manual_seed(2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert torch.equal(weights_of(train(x[:200], y[:200], recipe)), first)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    other = Recipe(epochs=1, seed=1)
    assert not torch.equal(weights_of(train(x[:200], y[:200], other)), first)


def test_images_are_resized_only_where_their_size_differs():
    network = Network(torch.Generator().manual_seed(0))
    x = torch.randint(256, (3, 1, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    small = x[:, :, :14, :14]
    by_hand = torch.nn.functional.interpolate(small.double(), size=28, mode="bilinear", align_corners=False)
    with torch.no_grad():
        torch.testing.assert_close(
            network(small)[0], network.body((by_hand.float() / 255 - 0.1307) / 0.3081), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(network(x)[0], network.body((x.float() / 255 - 0.1307) / 0.3081))


def test_weights_are_kept_checked_and_made_anew_where_damaged(folders, digits, monkeypatch):
    (x, y), test = digits
    sets = {"train": (x[:64], y[:64]), "test": (test[0][:50], test[1][:50])}
    loaded = []

    def load(name, part):
        loaded.append(part)
        return images.ImageSet(*sets[part], 10, (0.0,), (1.0,), 255.0)

    monkeypatch.setattr(images, "load", load)
    recipe = Recipe(epochs=1)
    place = mnist_cnn.weights(recipe)
    whole = place.read_bytes()
    assert mnist_cnn.weights(recipe) == place
    assert loaded == ["train", "test"]
    assert mnist_cnn.test_accuracy(place) == accuracy(mnist_cnn.load(place), *sets["test"])
    assert mnist_cnn.weights(Recipe(epochs=1, seed=3)) != place
    place.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert mnist_cnn.weights(recipe) == place
    assert place.read_bytes() == whole


def test_mean_of_point_features_is_the_characteristic_function():
    x = np.random.default_rng(1).normal((1, 0.5), 0.3, (40000, 2))
    network = PointFeatures()
    phi, _ = network(torch.from_numpy(x))
    assert phi.shape == (40000, 64)
    torch.testing.assert_close(phi.square().sum(1), torch.ones(40000, dtype=torch.float64))
    w = network.frequencies.numpy()
    expected = np.exp(1j * np.array([1, 0.5]) @ w - 0.5 * 0.09 * (w**2).sum(0)) / math.sqrt(32)
    found = phi.mean(0).numpy()
    np.testing.assert_allclose(found[:32] + 1j * found[32:], expected, atol=5 / math.sqrt(32 * 40000))


def test_frequencies_of_point_features_are_eight_directions_at_four_radii():
    found = PointFeatures().frequencies.T.reshape(4, 8, 2)
    for i, radius in enumerate((0.5, 1.0, 2.0, 4.0)):
        for j in range(8):
            turn = math.pi * j / 8
            assert found[i, j].tolist() == pytest.approx([radius * math.cos(turn), radius * math.sin(turn)])


def test_the_network_of_digits_has_the_stated_layers():
    """Two convolutions of 3 x 3, 1 to 16 to 32 channels, 64 features of 7 x 7 x 32, ten classes."""
    network = mnist_cnn.Network(torch.Generator())
    counts = [16 * 9 + 16, 32 * 16 * 9 + 32, 64 * 32 * 49 + 64, 10 * 64 + 10]
    assert sum(p.numel() for p in network.parameters()) == sum(counts)


def test_logits_of_points_are_the_posterior_of_the_two_moons():
    x = np.array([[0.3, 1.1], [1.0, -1.2], [-1.1, 0.6], [0.4, 0.2]])

    def density(point, arc):
        """Integrate the noise about the arc as `toy2d.moons` defines it."""

        def inside(a):
            upper = np.array([math.cos(a), math.sin(a)])
            centre = 2 * (upper if arc == 0 else np.array([1.0, 0.5]) - upper) - np.array([1.0, 0.2])
            return math.exp(-((point - centre) ** 2).sum() / (2 * 0.2**2))

        return quad(inside, 0, math.pi, epsabs=1e-300, epsrel=1e-10, limit=400)[0]

    expected = [math.log(density(point, 0) / density(point, 1)) for point in x]
    _, logits = PointFeatures()(torch.from_numpy(x))
    np.testing.assert_allclose((logits[:, 0] - logits[:, 1]).numpy(), expected, rtol=1e-8)


def test_inception_score_of_two_moons_is_near_its_bound_and_finite_far_away():
    moons = torch.from_numpy(toy2d.draw("moons", 4000, np.random.default_rng(2)))
    p = PointFeatures()(moons)[1].softmax(1)
    entropy = -(p * p.clamp_min(1e-300).log()).sum(1).mean()
    assert 1.9 < 2 * math.exp(-entropy) < 2
    far = PointFeatures()(torch.tensor([[1e6, 1e6], [0.0, 5.0]], dtype=torch.float64))[1]
    assert far.isfinite().all()
    assert (far.softmax(1) > 0).all()


def test_every_extractor_has_a_name_of_its_own():
    for name, extractor in EXTRACTORS.items():
        assert get(name) is extractor
        assert extractor.name == name


def test_the_shipped_weights_are_those_of_the_recipe_and_a_damaged_file_is_refused(tmp_path, monkeypatch):
    place = mnist_cnn.shipped()
    assert mnist_cnn.torch.load(place, weights_only=True)["recipe"] == dataclasses.asdict(Recipe())
    assert mnist_cnn.test_accuracy(place) > 98
    monkeypatch.setattr(mnist_cnn, "SHIPPED", tmp_path / "other.pt")
    with pytest.raises(UserError, match="absent or damaged"):
        mnist_cnn.shipped()
    (tmp_path / "other.pt").write_bytes(place.read_bytes()[:-1])
    with pytest.raises(UserError, match="absent or damaged"):
        mnist_cnn.shipped()


def test_the_rate_of_the_training_falls_to_zero_over_all_its_steps(monkeypatch):
    rates = []
    step = torch.optim.Adam.step

    def watched(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    x = torch.zeros(10, 1, 28, 28, dtype=torch.uint8)
    train(x, torch.zeros(10, dtype=torch.int64), Recipe(epochs=2, batch=4, rate=0.6))
    np.testing.assert_allclose(rates, [0.6, 0.5, 0.4, 0.3, 0.2, 0.1], rtol=1e-12)
