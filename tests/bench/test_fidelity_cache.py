"""Features are looked up by the content of the samples and the weights, so a stale value is never met."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.metrics.fidelity import extractors
from bench.metrics.fidelity import quality as q
from bench.metrics.fidelity.extractors import Extractor
from bench.metrics.fidelity.features import _key, extract, shrinks

pytestmark = pytest.mark.skipif(
    find_spec("torch_fidelity") is None or find_spec("torchvision") is None,
    reason="torch-fidelity is not installed: pip install torch-fidelity torchvision",
)


class Scaled(torch.nn.Module):
    """Scales points by its weights and counts the points that it has seen."""

    seen = 0

    def __init__(self, weights):
        super().__init__()
        self.factor = float(weights.read_text())

    def forward(self, x):
        Scaled.seen += len(x)
        return self.factor * x, x


@pytest.fixture
def scaled(folders, monkeypatch, tmp_path):
    """An extractor that counts, the file of its weights, and the empty folder of the cache."""
    weights = tmp_path / "weights"
    weights.write_text("2")
    extractor = Extractor("scaled-test", (2,), "float64", Scaled, lambda: weights)
    monkeypatch.setitem(extractors.EXTRACTORS, extractor.name, extractor)
    monkeypatch.setattr(Scaled, "seen", 0)
    return extractor, weights, folders[1] / "fidelity"


X = np.random.default_rng(1).normal(size=(300, 2))


def test_one_content_is_computed_once_and_found_again_unchanged(scaled):
    extractor, _, folder = scaled
    first = extract(X, extractor, keep=True)
    again = extract(torch.from_numpy(X.copy()), extractor, keep=True)
    assert Scaled.seen == 300
    np.testing.assert_array_equal(first.features, 2 * X)
    np.testing.assert_array_equal(again.features, first.features)
    np.testing.assert_array_equal(again.logits, X)
    assert len(list(folder.iterdir())) == 1


def test_any_change_of_the_content_is_computed_anew(scaled):
    extractor, *_ = scaled
    changed = X.copy()
    changed[299, 1] = np.nextafter(changed[299, 1], 9)
    for i, samples in enumerate((X, changed, X[::-1], X[:-1]), 1):
        np.testing.assert_array_equal(extract(samples, extractor, keep=True).features, 2 * samples)
        assert Scaled.seen == (300 * i if i < 4 else 1199)


def test_equal_bytes_of_another_shape_are_another_content(scaled):
    extractor, *_ = scaled
    wide = Extractor("scaled-test", (4,), "float64", Scaled, extractor.weights)
    np.testing.assert_array_equal(extract(X, extractor, keep=True).features, 2 * X)
    reshaped = X.reshape(150, 4)
    np.testing.assert_array_equal(extract(reshaped, wide, keep=True).features, 2 * reshaped)
    assert Scaled.seen == 300 + 150


def test_other_weights_of_one_name_are_another_extractor(scaled):
    extractor, weights, _ = scaled
    extract(X, extractor, keep=True)
    weights.write_text("3")
    np.testing.assert_array_equal(extract(X, extractor, keep=True).features, 3 * X)


def test_a_damaged_file_is_computed_anew(scaled):
    extractor, _, folder = scaled
    extract(X, extractor, keep=True)
    (place,) = folder.iterdir()
    whole = place.read_bytes()
    for damage in (b"", whole[:100], b"x" + whole[1:], whole.replace(X.tobytes()[:8], bytes(8))):
        assert damage != whole
        place.write_bytes(damage)
        np.testing.assert_array_equal(extract(X, extractor, keep=True).features, 2 * X)
        np.testing.assert_array_equal(extract(X, extractor, keep=True).features, 2 * X)
    assert Scaled.seen == 300 * 5
    assert place.read_bytes() == whole


def test_a_cache_that_can_not_be_written_changes_no_result(scaled):
    extractor, _, folder = scaled
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder should be")
    np.testing.assert_array_equal(extract(X, extractor, keep=True).features, 2 * X)


def test_quality_keeps_the_reference_and_always_reads_the_samples(scaled):
    extractor, _, folder = scaled
    samples = X + 0.5

    def fid(samples, reference):
        return q.quality(samples, reference, extractor.name, "normal", np.random.default_rng(0))["fid"].value

    first = fid(samples, X)
    assert Scaled.seen == 600
    assert fid(samples, X) == first
    assert Scaled.seen == 900
    assert len(list(folder.iterdir())) == 1
    assert first == pytest.approx(4 * 0.5**2 * 2, abs=1e-9)
    samples += 1  # in place: the same object, another content
    assert fid(samples, X) == pytest.approx(4 * 1.5**2 * 2, abs=1e-9)
    assert fid(samples, X + 1.5) == pytest.approx(0, abs=1e-9)


def test_a_layer_that_is_not_finite_is_refused_though_the_other_is(scaled):
    """Features are twice the points, logits the points: twice the largest numbers overflow, they themselves do not."""
    extractor, _, _ = scaled
    with np.errstate(over="ignore"), pytest.raises(UserError, match="not finite"):
        extract(np.full((300, 2), 1e308), extractor)


def test_one_feature_that_is_not_finite_is_one_too_many(scaled):
    extractor, _, _ = scaled
    points = np.zeros((300, 2))
    points[7, 1] = 1e308
    with np.errstate(over="ignore"), pytest.raises(UserError, match="not finite"):
        extract(points, extractor)


def test_a_key_holds_the_kind_of_device_and_not_its_number(scaled):
    extractor, weights, _ = scaled
    keys = [_key(X, extractor, weights, device) for device in ("cpu", "cuda", "cuda:0", "cuda:1")]
    assert keys[1] == keys[2] == keys[3] != keys[0]


def test_images_are_larger_than_the_input_by_their_sides_and_not_by_their_channels():
    extractor = Extractor("sides", (40, 8, 8), "uint8", Scaled, lambda: None, side=28)
    assert not shrinks((300, 40, 8, 8), extractor)
    assert not shrinks((300, 1, 28, 28), extractor)
    assert shrinks((300, 1, 8, 29), extractor)
