"""Distances between samples: closed forms, symmetry, laws with and without a difference."""

from __future__ import annotations

import subprocess
import sys
from itertools import permutations

import numpy as np
import pytest

from bench.errors import UserError
from bench.metrics.transport import (
    debiased_wasserstein2,
    gaussian,
    mmd,
    mmd_biased,
    paired,
    sliced_wasserstein2,
    wasserstein2,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal(n: int, d: int, seed: int = 0) -> np.ndarray:
    return rng(seed).normal(size=(n, d))


# W2


@pytest.mark.parametrize("d", [1, 2, 5])
def test_w2_of_a_shifted_and_shuffled_sample_is_the_length_of_the_shift(d):
    x, shift = normal(60, d), np.full(d, 0.7)
    moved = rng(1).permutation(x + shift)
    assert wasserstein2(x, moved) == pytest.approx(np.linalg.norm(shift), rel=1e-12)
    assert wasserstein2(x, rng(1).permutation(x)) == 0


def test_w2_of_a_scaled_sample_is_the_root_mean_square_of_the_moves():
    # x -> a x is the gradient of a convex function, hence the optimal map.
    x = normal(80, 3)
    assert wasserstein2(x, 1.5 * x) == pytest.approx(0.5 * np.sqrt((x**2).sum(1).mean()), rel=1e-12)


def test_w2_is_the_smallest_over_all_permutations():
    x, y = normal(6, 2, 1), normal(6, 2, 2)
    costs = [((x - y[list(p)]) ** 2).sum(1).mean() for p in permutations(range(6))]
    assert wasserstein2(x, y) == pytest.approx(np.sqrt(min(costs)), rel=1e-12)


def test_w2_on_the_line_sorts():
    x, y = normal(50, 1, 1), 2 + 3 * normal(50, 1, 2)
    assert wasserstein2(x, y) == pytest.approx(
        np.sqrt(((np.sort(x, 0) - np.sort(y, 0)) ** 2).mean()), rel=1e-12
    )


def test_w2_is_symmetric_and_obeys_the_triangle():
    x, y, z = normal(40, 2, 1), 2 * normal(40, 2, 2), normal(40, 2, 3) + 1
    assert wasserstein2(x, y) == pytest.approx(wasserstein2(y, x), rel=1e-12)
    assert wasserstein2(x, z) <= wasserstein2(x, y) + wasserstein2(y, z)


# Debiased W2


def sets(b: int, n: int, seed: int) -> np.ndarray:
    return rng(seed).normal(size=(b, n, 2))


def test_debiased_w2_of_one_law_is_zero_within_its_error_and_w2_is_not():
    found = [debiased_wasserstein2(sets(8, 50, 2 * s), sets(8, 50, 2 * s + 1)) for s in range(40)]
    values, errors = np.array(found, dtype=float).T
    assert abs(values.mean()) < 4 * values.std(ddof=1) / 40**0.5
    assert 0.2 < (values > 0).mean() < 0.8
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(ddof=1), rel=0.3)
    assert wasserstein2(sets(1, 50, 0)[0], sets(1, 50, 1)[0]) ** 2 > 5 * values.std()


def test_debiased_w2_of_a_shift_is_its_square_and_of_a_scale_that_of_the_moves():
    x, y = sets(40, 50, 1), sets(40, 50, 2)
    for moved, expected in ((y + np.array([0.6, 0.8]), 1.0), (2 * y, 2.0)):
        value, se = debiased_wasserstein2(x, moved)
        assert se is not None
        assert abs(value - expected) < 4 * se
        assert se < 0.15


def test_debiased_w2_is_each_pairs_own_terms_and_symmetric():
    x, y = sets(2, 6, 3), sets(2, 6, 4) + 1
    w2 = {(i, j): wasserstein2(a, b) ** 2 for i, a in enumerate((*x, *y)) for j, b in enumerate((*x, *y))}
    value, se = debiased_wasserstein2(x, y)
    assert value == pytest.approx((w2[0, 2] + w2[1, 3] - w2[0, 1] - w2[2, 3]) / 2)
    assert se is None
    assert debiased_wasserstein2(y, x)[0] == pytest.approx(value)


@pytest.mark.parametrize("shape", [(3, 10, 2), (0, 10, 2), (10, 2)])
def test_debiased_w2_takes_an_even_number_of_sets(shape):
    with pytest.raises(UserError, match="even number"):
        debiased_wasserstein2(np.zeros(shape), np.zeros(shape))


# Sliced W2


@pytest.mark.parametrize("d", [2, 7])
def test_sliced_w2_of_a_shift_is_its_length_over_root_d_on_average(d):
    x, shift, k = normal(30, d), rng(1).normal(size=d), 20000
    expected = shift @ shift / d
    # (theta . s)^2 / |s|^2 is Beta(1/2, (d - 1)/2): variance 2 (d - 1) / (d^2 (d + 2)).
    error = shift @ shift * np.sqrt(2 * (d - 1) / (d**2 * (d + 2)) / k)
    assert abs(sliced_wasserstein2(x, x + shift, rng(2), k) ** 2 - expected) < 4 * error


def test_sliced_w2_on_the_line_is_w2():
    x, y = normal(50, 1, 1), 2 + 3 * normal(50, 1, 2)
    assert sliced_wasserstein2(x, y, rng(), 3) == pytest.approx(wasserstein2(x, y), rel=1e-12)


def test_sliced_w2_is_below_w2_symmetric_and_follows_its_generator():
    x, y = normal(40, 3, 1), 2 * normal(40, 3, 2)
    value = sliced_wasserstein2(x, y, rng(3))
    assert 0 < value < wasserstein2(x, y)
    assert value == sliced_wasserstein2(y, x, rng(3))
    assert value != sliced_wasserstein2(y, x, rng(4))
    assert sliced_wasserstein2(x, x[::-1], rng(3)) < 1e-12


# MMD


def closed_mmd2(shift: float, sigma: float, d: int) -> float:
    """Return MMD^2 of N(0, I) and N(s e_1, I): 2 (sigma^2/w)^(d/2) (1 - e^(-s^2/(2 w))), w = sigma^2 + 2."""
    width = sigma**2 + 2
    return 2 * (sigma**2 / width) ** (d / 2) * (1 - np.exp(-(shift**2) / (2 * width)))


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_mmd_is_the_closed_form_of_two_normals_within_its_error(shift):
    from scipy.spatial.distance import pdist

    x, y = normal(1500, 2, 1) + np.array([shift, 0]), normal(1500, 2, 2)
    value, se = mmd(x, y)
    assert abs(value - closed_mmd2(shift, float(np.median(pdist(y))), 2)) < 3 * se
    assert (value > 10 * se) == (shift > 0)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_mmd_is_unbiased_and_its_error_is_the_spread_over_samples(shift):
    source = rng(3)
    values, errors = np.array(
        [mmd(source.normal((shift, 0), 1, (60, 2)), source.normal(size=(60, 2))) for _ in range(300)]
    ).T
    spread = values.std()
    sigma = 2 * np.sqrt(np.log(2))  # the median distance of two points of N(0, I) in the plane
    expected = closed_mmd2(shift, sigma, 2)
    assert abs(values.mean() - expected) < 4 * spread / np.sqrt(len(values)) + 0.02 * expected
    assert 0.8 < errors.mean() / spread < 1.4
    assert (np.mean(values < 0) > 0.3) == (shift == 0)


def test_the_biased_mmd_is_the_double_sum_and_its_limit_for_a_narrow_kernel():
    x, y = normal(40, 3, 1) + 0.5, normal(40, 3, 2)

    def mean(a, b):
        return np.mean([np.exp(-np.sum((u - v) ** 2) / (2 * 0.7**2)) for u in a for v in b])

    assert mmd_biased(x, y, 0.7) == pytest.approx(mean(x, x) + mean(y, y) - 2 * mean(x, y), rel=1e-12)
    assert mmd_biased(x, y, 1e-4) == pytest.approx(2 / 40, rel=1e-12)
    assert mmd_biased(x, x, 0.7) == pytest.approx(0, abs=1e-15)
    for estimate in (mmd, mmd_biased):
        with pytest.raises(UserError, match="bandwidth of the kernel must be positive"):
            estimate(x, y, sigma=0.0)


def test_mmd_of_a_sample_with_itself_is_zero_and_a_rotation_of_both_changes_nothing():
    x, y = normal(50, 2, 1) + 0.3, normal(50, 2, 2)
    assert mmd(x, x)[0] == pytest.approx(0, abs=1e-15)
    turn = np.linalg.qr(normal(2, 2, 3))[0]
    np.testing.assert_allclose(mmd(x @ turn, y @ turn), mmd(x, y), rtol=1e-9)


def test_mmd_is_symmetric_where_the_bandwidths_agree():
    x = normal(50, 2)
    y = 1 - x[::-1]  # the same distances within
    np.testing.assert_allclose(mmd(x, y), mmd(y, x), rtol=1e-12)


def test_mmd_of_a_reference_without_a_scale_is_refused():
    with pytest.raises(UserError, match="median distance of the reference's points is zero"):
        mmd(normal(10, 2), np.ones((10, 2)))


# Input


@pytest.mark.parametrize("measure", [wasserstein2, lambda x, y: sliced_wasserstein2(x, y, rng()), mmd])
@pytest.mark.parametrize(
    ("x", "y", "fault"),
    [
        (normal(9, 2), normal(8, 2), r"shapes \(9, 2\) and \(8, 2\)"),
        (normal(9, 2), normal(9, 3), r"shapes \(9, 2\) and \(9, 3\)"),
        (np.zeros(9), np.zeros(9), r"shapes \(9,\)"),
        (np.zeros((9, 0)), np.zeros((9, 0)), r"shapes \(9, 0\)"),
        (normal(3, 2), normal(3, 2), "3 points a sample are too few: give at least 4"),
        (normal(9, 2), np.full((9, 2), np.nan), "not finite"),
        (np.full((9, 2), np.inf), normal(9, 2), "not finite"),
        (np.where(np.arange(18).reshape(9, 2) == 5, np.nan, 1.0), normal(9, 2), "not finite"),
        (normal(9, 2), np.where(np.arange(18).reshape(9, 2) == 5, np.inf, 1.0), "not finite"),
    ],
    ids=["N", "D", "1-D", "no column", "few", "nan", "inf", "one nan", "one inf"],
)
def test_bad_samples_are_refused_by_all(measure, x, y, fault):
    with pytest.raises(UserError, match=fault) as error:
        measure(x, y)
    assert "\n" not in str(error.value)


def test_the_kernel_is_its_formula_and_the_bandwidth_the_median_distance_of_the_reference():
    from scipy.spatial.distance import pdist

    a, b = normal(3, 2, 1), normal(5, 2, 2)
    expected = [[np.exp(-np.sum((u - v) ** 2) / (2 * 1.3**2)) for v in b] for u in a]
    np.testing.assert_allclose(gaussian(1.3)(a, b), expected, rtol=1e-12)
    x, y = normal(30, 2, 1), np.exp(normal(30, 2, 2))  # a median far from the mean
    assert mmd(x, y) == mmd(x, y, sigma=float(np.median(pdist(y))))


def test_four_points_a_sample_are_enough():
    x = np.arange(4.0)[:, None]
    assert wasserstein2(x, x + 2) == 2
    assert len(paired(x, x)[0]) == 4


def test_samples_may_be_float32_and_are_not_changed():
    x, y = normal(20, 2).astype(np.float32), normal(20, 2, 1).astype(np.float32)
    before = x.copy()
    assert paired(x, y)[0].dtype == np.float64
    for measure in (wasserstein2, mmd, lambda a, b: sliced_wasserstein2(a, b, rng())):
        measure(x, y)
    assert (x == before).all()


def test_importing_the_metrics_imports_neither_scipy_nor_scikit_learn():
    code = (
        "import sys, bench.metrics.transport, bench.metrics.classification;"
        "print({'scipy', 'sklearn', 'torch'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_the_error_of_mmd_is_that_of_a_u_statistic_by_its_sums():
    """Variance of a U-statistic of order 2: 2 / (n (n - 1)) (2 (n - 2) zeta_1 + zeta_2), each zeta by plain loops."""
    x, y = normal(7, 2), normal(7, 2, seed=1) + 0.5
    n, sigma = 7, 1.3

    def k(a, b):
        return np.exp(-np.sum((a - b) ** 2) / (2 * sigma**2))

    h = {
        (i, j): k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i])
        for i, j in permutations(range(n), 2)
    }
    mean = np.mean(list(h.values()))
    triples = list(permutations(range(n), 3))
    zeta_1 = sum(h[i, j] * h[i, m] for i, j, m in triples) / len(triples) - mean**2
    zeta_2 = np.mean([v**2 for v in h.values()]) - mean**2
    expected = np.sqrt(2 / (n * (n - 1)) * (2 * (n - 2) * max(zeta_1, 0) + zeta_2))
    value, se = mmd(x, y, sigma=sigma)
    assert value == pytest.approx(mean)
    assert se == pytest.approx(expected)
