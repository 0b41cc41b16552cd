"""Shares near 0 and 1: exact and simulated coverage, closed forms at the ends, copies that count as one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom, binomtest, norm

from bench.metrics.share import Share, effective_size, interval, share

CASES = [(n, p) for n in (20, 100, 1000) for p in (0.5, 0.9, 0.99, 1 - 1 / n)]


@pytest.mark.parametrize(("n", "p"), CASES)
def test_the_interval_covers_the_truth_as_often_as_it_says_and_so_does_the_standard_error(n, p):
    draws = np.random.default_rng(n).binomial(n, p, 4000)
    found = {int(k): share(int(k), n) for k in np.unique(draws)}
    covered = np.mean([found[k].low <= p <= found[k].high for k in draws.tolist()])
    by_se = np.mean([abs(found[k].p - p) <= norm.ppf(0.975) * found[k].se for k in draws.tolist()])
    noise = 4 * np.sqrt(0.05 * 0.95 / len(draws))
    assert covered >= 0.95 - noise
    assert by_se >= covered
    wald = np.mean([abs(k / n - p) <= norm.ppf(0.975) * np.sqrt(k * (n - k) / n**3) for k in draws.tolist()])
    if p == 1 - 1 / n:
        assert wald < 0.7  # what sqrt(p (1 - p) / n) is worth there


@pytest.mark.parametrize("n", [1, 7, 60])
def test_no_probability_is_covered_too_seldom(n):
    k = np.arange(n + 1)
    ends = np.array([interval(i, n) for i in k])
    for p in np.linspace(0, 1, 501):
        inside = (ends[:, 0] <= p) & (p <= ends[:, 1])
        assert binom.pmf(k, n, p) @ inside >= 0.95


@pytest.mark.parametrize(("k", "n"), [(0, 9), (1, 9), (7, 9), (9, 9), (960, 1000)])
def test_the_ends_are_those_of_the_exact_binomial_test(k, n):
    expected = binomtest(k, n).proportion_ci(0.9, "exact")
    found = share(k, n, level=0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    farther = max(found.p - expected.low, expected.high - found.p)
    assert found.se == pytest.approx(farther / norm.ppf(0.95), rel=1e-9)
    assert (found.p, found.n) == (k / n, n)


def test_the_standard_error_is_the_binomial_one_in_the_middle():
    assert share(5000, 10000).se == pytest.approx(0.005, rel=0.02)


def test_percent_are_hundred_times_share_and_standard_error():
    assert Share(0.25, 0.125, 0.1, 0.5, 8).percent == (25.0, 12.5)


def test_copies_of_points_count_as_one():
    rng = np.random.default_rng(3)
    points = rng.normal(size=(100, 2))
    right = rng.random((500, 100)) < 0.9
    copies = np.tile(points, (10, 1))
    assert effective_size(points) == 100
    assert effective_size(copies) == pytest.approx(100)
    shares = [share(10 * int(row.sum()), 1000, effective_size(copies)) for row in right]
    spread = np.std([found.p for found in shares])
    assert np.mean([found.se for found in shares]) == pytest.approx(spread, rel=0.25)
    assert spread > 2.5 * np.mean([share(10 * int(row.sum()), 1000).se for row in right])
    assert np.mean([found.low <= 0.9 <= found.high for found in shares]) >= 0.95 - 4 * 0.01


def test_a_point_is_all_its_columns():
    x, labels = torch.tensor([[0.0, 1.0], [-0.0, 1.0], [0.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 0, 1, 0])
    assert effective_size(x) == pytest.approx(16 / (9 + 1))
    assert effective_size(x, labels) == pytest.approx(16 / (4 + 1 + 1))
    assert effective_size(x[:0]) == 0


@pytest.mark.parametrize(
    ("k", "n", "effective"), [(1, 0, None), (-1, 4, None), (5, 4, None), (1, 4, 0), (1, 4, 5)]
)
def test_what_is_no_share_is_refused(k, n, effective):
    with pytest.raises(ValueError, match="a share needs"):
        share(k, n, effective)
