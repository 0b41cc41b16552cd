"""The two-sample test by a classifier: chance, certainty, and its standard error."""

from __future__ import annotations

import numpy as np
import pytest

from bench.data import toy2d
from bench.errors import UserError
from bench.metrics.classification import _halves, c2st
from bench.metrics.share import share


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_samples_of_one_law_are_told_apart_by_chance_only_and_the_error_is_the_spread():
    source = rng(1)
    accuracies, errors = np.array(
        [c2st(source.normal(size=(100, 2)), source.normal(size=(100, 2)), source) for _ in range(40)]
    ).T
    assert abs(accuracies.mean() - 50) < 4 * errors.mean() / np.sqrt(40)
    # The standard deviation of 40 values is known to about 1 in 9.
    assert 0.6 < accuracies.std() / errors.mean() < 1.4


def test_separated_samples_are_told_apart_with_certainty():
    x = rng(1).normal(size=(200, 3))
    accuracy, se = c2st(x, x + np.array([0, 20, 0]), rng())
    assert accuracy == 100
    assert se == pytest.approx(100 * (1 - 0.025 ** (1 / 200)) / 1.959964, rel=1e-6)  # (1 - p)^200 = 2.5 %


def test_accuracy_of_two_normals_comes_near_the_best_possible():
    # The best rule for N(0, 1) and N(2, 1) is right with the probability Phi(1) = 0.8413.
    source = rng(2)
    accuracy, se = c2st(source.normal(size=(2000, 1)), source.normal(2, 1, (2000, 1)), source)
    # Where the accuracy is up to 5 below the best, as allowed here, the error is up to 11 % larger.
    assert se == pytest.approx(100 * np.sqrt(0.8413 * 0.1587 / 2000), rel=0.11)
    assert 84.13 - 5 < accuracy < 84.13 + 3 * se


def test_lost_modes_are_seen_and_the_whole_density_passes():
    source = rng(3)
    reference, again = (toy2d.draw("8gaussians", 800, source) for _ in range(2))
    lost = toy2d.draw("8gaussians", 2000, source)
    lost = lost[lost[:, 0] > -1][:800]  # 5 modes of 8
    accuracy, se = c2st(again, reference, source)
    assert abs(accuracy - 50) < 4 * se
    # The best rule is right with the probability (1 + 3/8) / 2.
    accuracy, se = c2st(lost, reference, source)
    assert 68.75 - 5 - 3 * se < accuracy < 68.75 + 3 * se


def test_it_is_symmetric_and_follows_its_generator():
    x, y = rng(4).normal(size=(150, 2)), rng(5).normal(0.5, 1, (150, 2))
    assert c2st(x, y, rng(6)) == c2st(x, y, rng(6))
    assert abs(c2st(y, x, rng(6))[0] - c2st(x, y, rng(6))[0]) < 1.5
    assert len({c2st(x, y, rng(seed)) for seed in range(6)}) > 1


def test_a_point_to_point_map_of_the_reference_does_not_leak():
    # Were a point's partner trained on while the point is tested, near copies would be found out below chance.
    y = rng(7).normal(size=(400, 2))
    accuracy, se = c2st(y + 1e-9, y, rng(8))
    assert abs(accuracy - 50) < 4 * se


@pytest.mark.parametrize(
    ("x", "y", "fault"),
    [
        (np.zeros((50, 2)), np.zeros((40, 2)), r"shapes \(50, 2\) and \(40, 2\)"),
        (np.zeros((39, 2)), np.zeros((39, 2)), "39 points a sample are too few: give at least 40"),
        (np.zeros((50, 2)), np.full((50, 2), np.nan), "not finite"),
    ],
)
def test_bad_samples_are_refused(x, y, fault):
    with pytest.raises(UserError, match=fault):
        c2st(x, y, rng())


def test_an_odd_number_of_points_leaves_the_larger_half_to_test_on():
    x, y = rng().normal(size=(2, 41, 2))
    percent, se = c2st(x, y + 9, rng())
    assert percent == 100
    assert share(42, 84).percent == (50.0, 100 * share(42, 84).se)
    assert se == pytest.approx(share(42, 42).percent[1])
    noise, se = c2st(x, y, rng())
    assert noise * 42 / 100 == pytest.approx(round(noise * 42 / 100))  # 21 points of each are classified
    assert se == pytest.approx(share(round(noise * 42 / 100), 42).percent[1])


def test_equal_points_are_never_trained_and_tested_on():
    y = rng(9).normal(size=(120, 2))
    x = rng(10).normal(size=(120, 2))
    x[60:] = x[:60]  # each twice
    x[5] = y[70]  # a point of the reference
    for seed in range(20):
        train, test = _halves((x, y), rng(seed))
        assert sorted([*train, *test]) == list(range(120))
        seen = {tuple(p) for points in (x, y) for p in points[train]}
        assert not seen & {tuple(p) for points in (x, y) for p in points[test]}
        assert len(train) == pytest.approx(60, abs=2)


def test_without_equal_points_the_first_half_of_a_permutation_is_trained_on():
    x, y = rng(1).normal(size=(2, 51, 3))
    order = rng(2).permutation(51)
    train, test = _halves((x, y), rng(2))
    assert (train.tolist(), test.tolist()) == (order[:25].tolist(), order[25:].tolist())


def test_copies_do_not_leak_and_do_not_sharpen_the_error():
    source = rng(11)
    found = []
    for _ in range(12):
        x, y = (np.tile(source.normal(size=(60, 2)), (5, 1)) for _ in range(2))
        found.append(c2st(x, y, source))
    accuracies, errors = np.array(found).T
    # A classifier that had met the copies would know them all.
    assert abs(accuracies.mean() - 50) < 4 * errors.mean() / np.sqrt(12)
    assert errors.mean() == pytest.approx(
        share(30, 60).percent[1], rel=0.1
    )  # 30 distinct points of each are tested


def test_samples_of_few_distinct_points_are_refused():
    with pytest.raises(UserError, match="only 1 groups without a point in common: draw more distinct points"):
        c2st(np.zeros((50, 2)), rng().normal(size=(50, 2)), rng())
