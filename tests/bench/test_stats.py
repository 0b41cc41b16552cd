"""Intervals against SciPy's closed forms and by simulation; fits against planted slopes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as reference

from bench.stats import (
    Interval,
    bootstrap_interval,
    fit_exponent,
    fit_line,
    mean_interval,
    paired_difference,
    paired_ratio,
)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(20180619)


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


@pytest.mark.parametrize("n", [2, 3, 5, 30])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_mean_interval_is_student_t(n, level, generator):
    x = generator.normal(3, 2, n)
    interval = mean_interval(x, level)
    expected = reference.t.interval(level, n - 1, loc=x.mean(), scale=reference.sem(x))
    assert bounds(interval) == pytest.approx(expected, rel=1e-12)
    assert (interval.mean, interval.n) == (pytest.approx(x.mean()), n)


def test_one_seed_has_a_mean_and_no_interval():
    assert mean_interval([2.5]) == Interval(2.5, None, None, 1)
    assert paired_difference([2.5], [1.0]) == Interval(1.5, None, None, 1)
    assert paired_ratio([3.0], [2.0]) == Interval(pytest.approx(1.5), None, None, 1)


def test_equal_seeds_have_an_interval_of_no_width():
    assert mean_interval([2.0, 2.0, 2.0]) == Interval(2.0, 2.0, 2.0, 3)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_mean_interval_of_three_seeds_covers_the_truth_as_often_as_it_says(level, generator):
    trials = 4000
    covered = sum(
        interval.low <= 1.0 <= interval.high
        for interval in (mean_interval(x, level) for x in generator.normal(1.0, 5.0, (trials, 3)))
    )
    standard_error = np.sqrt(level * (1 - level) / trials)
    assert abs(covered / trials - level) < 3 * standard_error


def test_bootstrap_over_three_seeds_is_too_narrow(generator):
    covered = 0
    for x in generator.normal(1.0, 5.0, (300, 3)):
        interval = bootstrap_interval(x, generator, resamples=200)
        covered += interval.low <= 1.0 <= interval.high
    assert covered / 300 < 0.85


def test_paired_difference_removes_what_the_pairs_share(generator):
    shared, noise = generator.normal(0, 100, 5), generator.normal(0, 0.1, 5)
    a, b = shared + 2 + noise, shared
    interval = paired_difference(a, b)
    result = reference.ttest_rel(a, b).confidence_interval(0.95)
    assert bounds(interval) == pytest.approx((result.low, result.high), rel=1e-9)
    assert interval.low > 1
    unpaired = mean_interval(a)
    assert unpaired.high - unpaired.low > 100 * (interval.high - interval.low)


def test_paired_ratio_is_geometric_and_turns_over_with_its_arguments(generator):
    a, b = generator.lognormal(1, 1, 6), generator.lognormal(0, 1, 6)
    interval, inverse = paired_ratio(a, b), paired_ratio(b, a)
    assert interval.mean == pytest.approx(reference.gmean(a / b))
    assert bounds(inverse) == pytest.approx((1 / interval.high, 1 / interval.low))
    expected = reference.t.interval(0.95, 5, loc=np.log(a / b).mean(), scale=reference.sem(np.log(a / b)))
    assert bounds(interval) == pytest.approx(np.exp(expected))


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_interval([]),
        lambda: mean_interval([[1.0, 2.0]]),
        lambda: paired_difference([1.0, 2.0], [1.0]),
        lambda: paired_difference([1.0, 2.0, 3.0], [1.0]),
        lambda: paired_ratio([1.0, 0.0], [1.0, 1.0]),
        lambda: paired_ratio([1.0, 1.0], [1.0, -1.0]),
        lambda: paired_ratio([1.0, float("nan")], [1.0, 1.0]),
        lambda: fit_line([1.0, 1.0], [1.0, 2.0]),
        lambda: fit_line([1.0], [1.0]),
        lambda: fit_exponent([0.0, 1.0], [1.0, 2.0]),
    ],
)
def test_what_has_no_answer_is_refused(call):
    with pytest.raises(ValueError, match=r"need|expected"):
        call()


def test_bootstrap_agrees_with_the_normal_interval_on_many_points(generator):
    x = generator.normal(0, 1, 2000)
    interval = bootstrap_interval(x, generator, resamples=1000)
    half = 1.96 * x.std() / np.sqrt(x.size)
    assert bounds(interval) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.1 * half)
    assert (interval.mean, interval.n) == (x.mean(), 2000)


def test_bootstrap_takes_any_statistic_and_repeats_with_its_generator(generator):
    x = generator.exponential(1, 500)
    first = bootstrap_interval(x, np.random.default_rng(1), statistic=np.median, resamples=200)
    again = bootstrap_interval(x, np.random.default_rng(1), statistic=np.median, resamples=200)
    other = bootstrap_interval(x, np.random.default_rng(2), statistic=np.median, resamples=200)
    assert first == again != other
    assert first.low < np.median(x) == first.mean < first.high
    assert bootstrap_interval([3.0], generator) == Interval(3.0, None, None, 1)


def test_fit_line_agrees_with_scipy(generator):
    x = generator.uniform(-5, 5, 12)
    y = 3 - 2 * x + generator.normal(0, 0.5, 12)
    fit, expected = fit_line(x, y), reference.linregress(x, y)
    assert (fit.slope, fit.intercept, fit.slope_se) == pytest.approx(
        (expected.slope, expected.intercept, expected.stderr), rel=1e-10
    )
    assert fit.n == 12


def test_standard_error_of_a_slope_is_its_spread_over_repetitions(generator):
    x = np.linspace(0, 1, 8)
    fits = [fit_line(x, 4 * x + generator.normal(0, 0.3, 8)) for _ in range(2000)]
    slopes = np.array([fit.slope for fit in fits])
    variance = np.mean([fit.slope_se**2 for fit in fits])
    assert slopes.mean() == pytest.approx(4, abs=0.05)
    assert slopes.var() == pytest.approx(variance, rel=0.1)


def test_two_points_have_a_slope_and_no_standard_error():
    fit = fit_line([0, 2], [1, 5])
    assert (fit.slope, fit.intercept, fit.slope_se) == (2.0, 1.0, None)


@pytest.mark.parametrize("exponent", [-4.0, 0.5, 1.0])
def test_fit_exponent_recovers_a_planted_power_law(exponent):
    x = np.array([10, 20, 40, 80, 160])
    fit = fit_exponent(x, 7 * x**exponent)
    assert (fit.slope, np.exp(fit.intercept)) == pytest.approx((exponent, 7.0))
    assert fit.slope_se == pytest.approx(0, abs=1e-12)


def test_large_offset_does_not_spoil_a_slope():
    x = 1e8 + np.arange(5.0)
    assert fit_line(x, 3 * (x - 1e8)).slope == pytest.approx(3, rel=1e-12)
