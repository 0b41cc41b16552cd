"""Sample quality: closed forms of each score, its standard error, and what is refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from bench.errors import UserError
from bench.metrics import catalogue
from bench.metrics.fidelity import extractors
from bench.metrics.fidelity import quality as q
from bench.metrics.fidelity.extractors import Extractor
from bench.metrics.fidelity.features import extract
from bench.metrics.fidelity.library import library
from bench.metrics.share import share

pytestmark = pytest.mark.skipif(
    find_spec("torch_fidelity") is None or find_spec("torchvision") is None,
    reason="torch-fidelity is not installed: pip install torch-fidelity torchvision",
)


class Identity(torch.nn.Module):
    """Features and logits of a point are the point."""

    def forward(self, x):
        return x, x


@pytest.fixture
def identity(folders, monkeypatch):
    """The name of an extractor that changes nothing, with an empty cache."""
    name = "identity-test"
    monkeypatch.setitem(extractors.EXTRACTORS, name, Extractor(name, (3,), "float64", lambda _: Identity()))
    return name


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def exact_sample(mean, variances, n: int = 200) -> np.ndarray:
    """Return a sample whose mean and covariance are exactly these, up to rounding."""
    x = rng(9).normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    x = np.linalg.solve(np.linalg.cholesky(np.cov(x, rowvar=False)), x.T).T
    return x * np.sqrt(variances) + mean


def test_fid_of_diagonal_normals_is_its_closed_form(identity):
    x, y = exact_sample([0, 1, 2], [1, 4, 9]), exact_sample([3, 1, 0], [4, 1, 9], 500)
    value = q.quality(x, y, identity, "closed", rng())["fid"].value
    # |difference of means|^2 + sum of squared differences of standard deviations
    assert value == pytest.approx(13 + 1 + 1 + 0, abs=1e-6)


def test_fid_is_the_frechet_distance_of_the_sample_statistics(identity):
    mix = rng(1).normal(size=(3, 3))
    x, y = rng(2).normal(size=(400, 3)) @ mix, rng(3).normal(0.5, 2, (300, 3))
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    gap = x.mean(axis=0) - y.mean(axis=0)
    root = sqrtm(a)
    expected = gap @ gap + np.trace(a + b - 2 * np.real(sqrtm(root @ b @ root)))
    assert q.quality(x, y, identity, "other", rng())["fid"].value == pytest.approx(expected, abs=1e-6)


def test_jackknife_takes_the_bias_away_and_tells_the_spread():
    source = rng(4)
    raw, errors, extrapolated = np.array(
        [q.fid(source.normal(size=(300, 6)), source.normal(0.2, 1, (400, 6)), source) for _ in range(40)]
    ).T
    truth = 6 * 0.2**2
    spread = extrapolated.std(ddof=1)
    assert abs(extrapolated.mean() - truth) < 4 * spread / np.sqrt(40)
    assert raw.mean() - truth > 4 * raw.std(ddof=1) / np.sqrt(40)
    assert 0.7 < errors.mean() / raw.std(ddof=1) < 1.4


def test_without_a_group_statistics_are_those_of_the_other_rows():
    x = rng(5).normal(7, 1, (103, 4))
    order = rng(6).permutation(103)
    for rows, found in zip(np.array_split(order, 100), q._without_groups(x, rng(6)), strict=True):
        others = np.delete(x, rows, axis=0)
        np.testing.assert_allclose(found["mu"], others.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(found["sigma"], np.cov(others, rowvar=False), atol=1e-12)


def test_inception_score_of_a_certain_classifier_is_the_number_of_classes():
    logits = 100 * np.eye(4)[rng(1).integers(4, size=20000)]
    value, se = q.inception_score(logits, rng())
    assert 4 - 0.02 < value <= 4
    assert 0 < se < 0.01


def test_inception_score_of_a_known_classifier_is_its_closed_form():
    p = 0.8
    odds = np.log(p / (1 - p)) * rng(1).choice((-1, 1), 40000)
    value, se = q.inception_score(np.stack((odds, 0 * odds), axis=1), rng())
    expected = 2 * p**p * (1 - p) ** (1 - p)  # exp(log 2 - H(p))
    assert value == pytest.approx(expected, abs=4 * se + 1e-3)
    assert value < 2
    assert q.inception_score(np.ones((100, 5)), rng()) == (pytest.approx(1, abs=1e-12), pytest.approx(0))


def test_kid_of_identical_sets_is_about_zero_and_a_shift_is_its_closed_form():
    x = rng(1).normal(size=(600, 1))
    value, se = q.kid(x, x, rng())
    assert abs(value) < 3 * se
    # E k(a, b) = 1 + 3 m_1^2 + 3 m_2^2 + m_3^2 for one feature: N(0, 1) has moments 0, 1, 0, N(1, 1) 1, 2, 4.
    shifted = rng(2).normal(1, 1, (600, 1))
    value, se = q.kid(x, shifted, rng())
    assert abs(value - (3 * 1 + 3 * 1 + 16)) < 4 * se
    assert se < 22 / 3


def test_kid_follows_its_generator():
    x, y = rng(1).normal(size=(400, 3)), rng(2).normal(size=(400, 3))
    assert q.kid(x, y, rng(5)) == q.kid(x, y, rng(5))
    assert q.kid(x, y, rng(5)) != q.kid(x, y, rng(6))


def test_precision_and_recall_of_lost_and_of_invented_modes():
    near, far = rng(1).normal(size=(500, 2)), rng(2).normal((50, 0), 1, (500, 2))
    both, again = np.concatenate((near, far)), rng(3).normal(size=(500, 2))
    (precision, se), (recall, _) = q.precision_recall(again, both)
    assert precision > 0.9
    assert se == pytest.approx(share(round(500 * precision), 500).se)
    assert 0.4 < recall <= 0.5
    (precision, _), (recall, _) = q.precision_recall(both, again)
    assert 0.4 < precision <= 0.5
    assert recall > 0.9
    certain = share(500, 500).se  # no error of zero where all of 500 agree
    for other, expected in ((near, 1), (far, 0)):
        for value, se in q.precision_recall(near, other):
            assert (value, se) == (expected, pytest.approx(certain))
    copies = np.tile(near[:50], (10, 1))
    assert q.precision_recall(copies, near)[0] == (1, pytest.approx(share(50, 50).se))


def test_scores_are_those_of_torch_fidelity_itself(identity):
    x, y = rng(1).normal(size=(250, 3)), rng(2).normal(0.3, 1, (270, 3))
    scores = q.quality(x, y, identity, "other", rng())
    expected = library("metrics").calculate_metrics(
        input1=Points(x),
        input2=Points(y),
        feature_extractor=identity,
        **dict.fromkeys(("fid", "prc", "save_cpu_ram"), True),
        **dict.fromkeys(("cuda", "cache", "verbose"), False),
    )
    assert scores["fid"].value == pytest.approx(expected["frechet_inception_distance"], rel=1e-12)
    for name in ("precision", "recall"):
        assert scores[name].value == pytest.approx(expected[name], abs=1e-6)


class Points(torch.utils.data.Dataset):
    """Points as torch-fidelity reads them."""

    def __init__(self, x):
        self.x = torch.from_numpy(x)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index]


def test_protocols_name_extractor_reference_counts_and_rounding(identity):
    x, y = rng(1).normal(size=(250, 3)), rng(2).normal(size=(1000, 3))
    scores = q.quality(x, y, identity, "moons", rng())
    assert {key: score.protocol for key, score in scores.items()} == {
        "fid": "fid/identity-test/moons-1k/250/float64",
        "fid[extrapolated]": "fid/identity-test/moons-1k/250/float64/jackknife-100",
        "inception_score": "inception_score/identity-test/250/float64/10-parts",
        "kid": "kid/identity-test/moons-1k/250/float64/100x125",
        "precision": "precision/identity-test/moons-1k/250/float64/3-nearest",
        "recall": "recall/identity-test/moons-1k/250/float64/3-nearest",
    }
    for key, score in scores.items():
        catalogue.metric(catalogue.split_key(key)[0])
        assert type(score.value) is type(score.se) is float
        assert score.n == 250


def bad(value: float, dtype: str = "float64") -> np.ndarray:
    x = np.zeros((200, 3), dtype)
    x[7, 1] = value
    return x


GOOD = np.random.default_rng(8).normal(size=(200, 3))


@pytest.mark.parametrize(
    ("x", "y", "fault"),
    [
        (GOOD[:, :2], GOOD[:, :2], r"takes \(N, 3\), but the sample set is \(200, 2\)"),
        (GOOD[:, None], GOOD[:, None], r"takes \(N, 3\), but the sample set is \(200, 1, 3\)"),
        (GOOD, GOOD[:, :2], r"takes \(N, 3\), but the reference is \(200, 2\)"),
        (bad(1, "int64"), GOOD, "takes float64, but the sample set is int64"),
        (bad(np.nan), GOOD, "the sample set has values that are not finite"),
        (GOOD, bad(np.inf), "the reference has values that are not finite"),
        (GOOD[:99], GOOD, "99 samples and 200 of the reference are too few: give at least 100"),
        (GOOD, GOOD[:0], "200 samples and 0 of the reference are too few"),
    ],
)
def test_bad_samples_are_refused(identity, x, y, fault):
    with pytest.raises(UserError, match=fault) as error:
        q.quality(x, y, identity, "other", rng())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("images", "fault"),
    [
        (torch.zeros(200, 28, 28, dtype=torch.uint8), r"takes \(N, 1, any, any\)"),
        (torch.zeros(200, 3, 28, 28, dtype=torch.uint8), r"takes \(N, 1, any, any\)"),
        (torch.rand(200, 1, 28, 28), "takes uint8, but the sample set is float32: .* to_uint8"),
        (torch.ones(200, 1, 28, 28, dtype=torch.uint8), "levels from 1 to 1 only: .* white 255, so scale it"),
    ],
)
def test_bad_images_are_refused_before_anything_is_trained(folders, images, fault):
    with pytest.raises(UserError, match=fault):
        q.quality(images, images, "mnist-cnn-v1", "mnist-test", rng())


def test_fewer_samples_than_twice_the_features_are_refused():
    with pytest.raises(
        UserError, match="159 samples and 500 of the reference are too few: give at least 160"
    ):
        q.fid(np.zeros((159, 80)), np.zeros((500, 80)), rng())


def test_an_unknown_extractor_is_answered_with_close_ones():
    with pytest.raises(UserError, match=r"'mnist-cnn'.*mnist-cnn-v1"):
        q.quality(GOOD, GOOD, "mnist-cnn", "other", rng())


def test_weights_of_inception_must_be_there_and_whole(folders):
    images = np.full((200, 3, 32, 32), 7, np.uint8)
    images[0] = 250
    with pytest.raises(UserError, match="not here: run `cnf-bench data fetch inception-v3-compat`"):
        q.quality(images, images, "inception-v3-compat", "none", rng())
    place = folders[0] / "weights" / "weights-inception-2015-12-05-6726825d.pth"
    place.parent.mkdir()
    place.write_bytes(b"other weights")
    with pytest.raises(UserError, match="damaged or incomplete: sha256"):
        q.quality(images, images, "inception-v3-compat", "none", rng())


def test_a_missing_library_is_named_with_its_mend(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.metric_fid", None)
    with pytest.raises(UserError, match=r"needs torch_fidelity: run pip install torch-fidelity"):
        q.fid(GOOD, GOOD, rng())


def test_inception_is_given_its_checked_weights_and_its_two_layers(folders, monkeypatch, tmp_path):
    # Random weights stand for the real ones, so that torch-fidelity's network runs without them.
    found = []
    network = library("feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    monkeypatch.setattr(network, "load_state_dict", lambda self, state: found.append(state))
    weights = tmp_path / "weights.pth"
    torch.save({"stands": "in"}, weights)
    inception = replace(extractors.get("inception-v3-compat"), weights=lambda: weights)
    images = rng(1).integers(256, size=(2, 3, 32, 32)).astype(np.uint8)
    result = extract(images, inception)
    assert result.features.shape == (2, 2048)
    assert result.logits.shape == (2, 1008)
    assert found == [{"stands": "in"}]


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Return |m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)) of two samples, by eigenvalues."""
    s_x, s_y = (np.cov(points, rowvar=False) for points in (x, y))
    root = np.sqrt(np.linalg.eigvals(s_x @ s_y).real.clip(0)).sum()
    return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s_x + s_y) - 2 * root)


def test_error_and_extrapolation_of_fid_are_the_jackknifes():
    x, y = rng(8).normal(size=(230, 3)), rng(9).normal(0.3, 1.2, (240, 3))
    value, se, extrapolated = q.fid(x, y, rng(10))
    orders = rng(10)
    left_out = []
    for own, other in ((x, y), (y, x)):
        groups = np.array_split(orders.permutation(len(own)), 100)
        left_out.append([frechet(np.delete(own, rows, axis=0), other) for rows in groups])
    means = [np.mean(found) for found in left_out]
    squared = sum(99 / 100 * np.sum((np.array(found) - mean) ** 2) for found, mean in zip(left_out, means))
    assert value == pytest.approx(frechet(x, y), rel=1e-6)
    assert se == pytest.approx(np.sqrt(squared), rel=1e-4)
    assert extrapolated == pytest.approx(value - 99 * sum(mean - value for mean in means), rel=1e-4)


def test_error_of_the_inception_score_is_that_of_its_ten_parts():
    logits = rng(11).normal(size=(500, 3))
    value, se = q.inception_score(logits, rng(12))
    order = np.random.RandomState(int(rng(12).integers(2**31))).permutation(500)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    parts = []
    for rows in np.split(order, 10):
        part = p[rows]
        parts.append(np.exp(np.mean(np.sum(part * np.log(part / part.mean(0)), 1))))
    assert value == pytest.approx(np.mean(parts), rel=1e-6)
    assert se == pytest.approx(np.std(parts, ddof=1) / np.sqrt(10), rel=1e-6)
