"""Verdicts' statistics: against SciPy's closed forms, and by simulated coverage and error rates."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from scipy import stats as reference

from bench.inference import (
    Equivalence,
    Side,
    discoveries,
    equivalence,
    fieller_ratio,
    p_beyond,
    p_within,
    power,
    seeds_needed,
    side,
    smallest_effect,
    welch_difference,
)
from bench.stats import Interval, mean_interval, paired_ratio

SIMULATIONS = 2000
SEEDS = pytest.mark.parametrize("n", [3, 5, 8])


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(20261126)


def covered(interval: Interval, truth: float) -> bool:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low <= truth <= interval.high


@SEEDS
def test_the_interval_of_a_mean_covers_it_in_95_of_100_cases(n, generator):
    hits = [covered(mean_interval(x), -2.0) for x in generator.normal(-2.0, 3.0, (SIMULATIONS, n))]
    assert 0.93 <= np.mean(hits) <= 0.97


@SEEDS
def test_the_interval_of_a_quotient_of_positive_numbers_covers_it(n, generator):
    noise = generator.normal(0, 0.5, (SIMULATIONS, n))
    b = np.exp(generator.normal(1.0, 0.8, (SIMULATIONS, n)))
    hits = [covered(paired_ratio(y * 3.0 * np.exp(e), y), 3.0) for y, e in zip(b, noise, strict=True)]
    assert 0.93 <= np.mean(hits) <= 0.97


@SEEDS
def test_fiellers_interval_covers_the_quotient_of_correlated_means(n, generator):
    common = generator.normal(0, 0.3, (SIMULATIONS, n))
    a = 2.0 + common + generator.normal(0, 0.2, (SIMULATIONS, n))
    b = 5.0 + common + generator.normal(0, 0.2, (SIMULATIONS, n))
    hits = [covered(fieller_ratio(x, y), 0.4) for x, y in zip(a, b, strict=True)]
    assert 0.93 <= np.mean(hits) <= 0.97


@SEEDS
def test_welchs_interval_covers_the_difference_of_unequal_samples(n, generator):
    a = generator.normal(1.0, 1.0, (SIMULATIONS, n))
    b = generator.normal(0.5, 3.0, (SIMULATIONS, 2 * n))
    hits = [covered(welch_difference(x, y), 0.5) for x, y in zip(a, b, strict=True)]
    assert 0.93 <= np.mean(hits) <= 0.97


def test_a_quotient_and_its_reciprocal_give_reciprocal_intervals(generator):
    a, b = np.exp(generator.normal(0, 1, (2, 5)))
    for ratio in (paired_ratio, fieller_ratio):
        if ratio is fieller_ratio:
            a, b = a + 10, b + 10
        one, other = ratio(a, b), ratio(b, a)
        assert (one.low, one.high) == pytest.approx((1 / other.high, 1 / other.low))


def test_fiellers_bounds_are_where_the_paired_t_test_turns(generator):
    a, b = generator.normal(3, 1, 6), generator.normal(7, 1, 6)
    interval = fieller_ratio(a, b)
    assert interval.mean == pytest.approx(a.mean() / b.mean())
    for bound in (interval.low, interval.high):
        assert reference.ttest_rel(a, bound * b).pvalue == pytest.approx(0.05, abs=1e-9)


def test_a_denominator_that_may_be_zero_is_refused():
    with pytest.raises(ValueError, match="may be zero"):
        fieller_ratio([1.0, 2.0, 3.0], [-1.0, 0.5, 2.0])
    with pytest.raises(ValueError, match="zero"):
        fieller_ratio([1.0], [0.0])


def test_welch_is_scipys(generator):
    a, b = generator.normal(0, 1, 4), generator.normal(0, 5, 9)
    expected = reference.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    interval = welch_difference(a, b)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert interval.n == 4
    equal = welch_difference([1.0, 2.0, 3.0], [6.0, 7.0, 8.0])  # equal variances
    half = reference.t.ppf(0.975, 4) * np.sqrt(2 / 3)
    assert (equal.mean, equal.low, equal.high) == pytest.approx((-5.0, -5.0 - half, -5.0 + half))
    assert welch_difference([1.0, 1.0], [3.0, 3.0]) == Interval(-2.0, -2.0, -2.0, 2)


def means(*values: float) -> partial[Interval]:
    return partial(mean_interval, list(values))


def test_p_values_are_scipys(generator):
    x = generator.normal(0.3, 1, 6)
    assert p_beyond(means(*x), 0.1) == pytest.approx(reference.ttest_1samp(x, 0.1).pvalue, rel=1e-5)
    assert p_beyond(means(*x), 0.1, Side.ABOVE if x.mean() > 0.1 else Side.BELOW) < 1.0
    assert p_beyond(means(*x), 0.1, Side.BELOW if x.mean() > 0.1 else Side.ABOVE) == 1.0
    lower = reference.ttest_1samp(x, -3.0, alternative="greater").pvalue
    upper = reference.ttest_1samp(x, 2.0, alternative="less").pvalue
    assert p_within(means(*x), -3.0, 2.0) == pytest.approx(max(lower, upper), rel=1e-5)
    assert (p_beyond(means(1, 1), 1.0), p_beyond(means(1, 1), 2.0), p_beyond(means(1), 5.0)) == (
        1.0,
        0.0,
        1.0,
    )
    assert (p_within(means(1, 1), 0.5, 1.5), p_within(means(1, 1), 2.0, 3.0)) == (0.0, 1.0)


@SEEDS
@pytest.mark.parametrize("edge", [-1.0, 1.0])
def test_at_the_margin_equivalence_errs_in_at_most_5_of_100_cases(n, edge, generator):
    found = [equivalence(means(*x), -1.0, 1.0) for x in generator.normal(edge, 0.4, (SIMULATIONS, n))]
    allowed = 3 * math.sqrt(0.05 * 0.95 / SIMULATIONS)
    assert found.count(Equivalence.EQUAL) / SIMULATIONS <= 0.05 + allowed
    wrong = Equivalence.LOWER if edge < 0 else Equivalence.HIGHER
    assert found.count(wrong) / SIMULATIONS <= 0.025 + allowed
    assert Equivalence.UNDECIDED in found


@SEEDS
def test_at_the_limit_a_side_is_named_in_at_most_5_of_100_cases(n, generator):
    found = [side(mean_interval(x), 1.0) for x in generator.normal(1.0, 2.0, (SIMULATIONS, n))]
    assert 0.93 <= found.count(Side.ASTRIDE) / SIMULATIONS <= 0.97


def test_sides_and_equivalence_of_plain_cases():
    assert side(Interval(2.0, 1.0, 3.0, 3), 3.5) is Side.BELOW
    assert side(Interval(2.0, 1.0, 3.0, 3), 0.5) is Side.ABOVE
    assert side(Interval(2.0, 1.0, 3.0, 3), 3.0) is Side.ASTRIDE
    assert side(Interval(2.0, None, None, 1), 9.0) is Side.ASTRIDE
    assert equivalence(means(5, 5), 5.0, 6.0) is Equivalence.EQUAL
    assert equivalence(means(5, 5), 5.1, 6.0) is Equivalence.LOWER
    assert equivalence(means(5, 5), 4.0, 4.9) is Equivalence.HIGHER
    assert equivalence(means(5), 5.0, 6.0) is Equivalence.UNDECIDED
    with pytest.raises(ValueError, match="holds nothing"):
        equivalence(means(5, 5), 5.1, 5.0)


def test_discoveries_are_those_of_scipys_adjusted_p_values(generator):
    p = np.concatenate([generator.uniform(0, 1, 30), generator.uniform(0, 0.005, 10)])
    adjusted = reference.false_discovery_control(p)
    for rate in (0.01, 0.05, 0.2):
        assert discoveries(p.tolist(), rate) == (adjusted <= rate).tolist()
    assert discoveries([]) == []


def test_power_is_the_share_of_simulated_intervals_on_the_right_side(generator):
    for n, effect in ((3, 2.0), (5, 1.0), (8, 1.0)):
        found = [side(mean_interval(x), 0.0) for x in generator.normal(effect, 1.0, (SIMULATIONS, n))]
        share = found.count(Side.ABOVE) / SIMULATIONS
        assert power(effect, n) == pytest.approx(share, abs=3 * math.sqrt(share * (1 - share) / SIMULATIONS))
    assert power(5.0, 1) == 0.0


def test_seeds_and_effects_are_the_least_that_reach_a_power():
    needed = seeds_needed(1.0)
    assert needed is not None
    assert power(1.0, needed) >= 0.8 > power(1.0, needed - 1)
    assert seeds_needed(0.001) is None
    assert (power(1e8, 1000), seeds_needed(1e12)) == (1.0, 2)
    least = smallest_effect(8)
    assert power(least, 8) == pytest.approx(0.8, abs=1e-4)
    assert power(smallest_effect(30), 30) == pytest.approx(0.8, abs=1e-4)
    assert smallest_effect(1) == math.inf
    assert power(smallest_effect(2), 2) == pytest.approx(0.8, abs=1e-4)
