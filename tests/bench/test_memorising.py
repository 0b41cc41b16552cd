"""The nearest-neighbour test against memorising: by hand, under the null, with planted copies, and its error."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bench.errors import UserError
from bench.metrics.memorising import nearest_in_training


def points(seed: int, n: int, d: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def test_a_case_by_hand() -> None:
    train, held_out = [[0.0], [10.0], [3.0]], [[1.0], [20.0], [3.0]]
    samples = [[0.1], [0.9], [11.0], [19.0], [3.0], [12.0], [9.0], [8.0]]
    value, se = nearest_in_training(samples, train, held_out)
    # nearer to train: 0.1, 11, 12, 9, 8; a tie: 3; nearest points: 0 once, 10 four times, 1' and 20' once
    assert value == pytest.approx(100 * 5.5 / 8)
    counts = np.array([1, 4, 0, 1, 1, 0])
    ways = [counts[list(chosen)].sum() / 8 for chosen in itertools.combinations(range(6), 3)]
    assert se == pytest.approx(100 * np.std(ways))


def test_copies_of_training_points_are_found_and_of_held_out_ones_too() -> None:
    train, held_out = points(0, 400), points(1, 400)
    assert nearest_in_training(train, train, held_out)[0] == 100
    assert nearest_in_training(held_out, train, held_out)[0] == 0
    half = np.concatenate([train[:100] + 1e-6, points(2, 100)])
    value, se = nearest_in_training(half, train, held_out)
    assert value == pytest.approx(75, abs=4 * se)
    assert value > 50 + 4 * se


@pytest.mark.parametrize("scale", [1.0, 3.0, 0.2])
@pytest.mark.parametrize("m", [10, 200])
def test_without_memory_the_share_is_a_half_and_the_error_is_its_spread(scale: float, m: int) -> None:
    """Whatever the samples' law, here other scales too; many samples to few points, whose answers hang together."""
    found = [
        nearest_in_training(scale * points(3 * i, 100), points(3 * i + 1, m), points(3 * i + 2, m))
        for i in range(300)
    ]
    values, errors = np.transpose(found)
    spread = values.std(ddof=1)
    assert values.mean() == pytest.approx(50, abs=4 * spread / 300**0.5)
    assert np.sqrt((errors**2).mean()) / spread == pytest.approx(1, abs=0.16)


def test_swapping_both_sets_swaps_the_answer() -> None:
    samples, train, held_out = points(0, 300), points(1, 50), points(2, 50)
    one, other = nearest_in_training(samples, train, held_out), nearest_in_training(samples, held_out, train)
    assert one[0] + other[0] == pytest.approx(100)
    assert one[1] == pytest.approx(other[1])


def test_parts_are_put_together_in_order(monkeypatch) -> None:
    whole = nearest_in_training(points(0, 301), points(1, 50), points(2, 50))
    monkeypatch.setattr("bench.metrics.memorising.AT_ONCE", 7)
    assert nearest_in_training(points(0, 301), points(1, 50), points(2, 50)) == whole


@pytest.mark.parametrize(
    ("x", "a", "b", "fault"),
    [
        (points(0, 9), points(0, 9), points(0, 8), r"\(9, 2\), \(9, 2\) and \(8, 2\)"),
        (points(0, 9, 3), points(0, 9), points(0, 9), r"\(9, 3\)"),
        (points(0, 9)[:, 0], points(0, 9), points(0, 9), r"\(9,\)"),
        (points(0, 0), points(0, 9), points(0, 9), r"\(0, 2\)"),
        (points(0, 9), points(0, 0), points(0, 0), r"\(0, 2\)"),
        (points(0, 9) * np.nan, points(0, 9), points(0, 9), "not finite"),
        (points(0, 9), points(0, 9), points(0, 9) * np.inf, "not finite"),
    ],
)
def test_bad_points_are_refused(x, a, b, fault) -> None:
    with pytest.raises(UserError, match=fault):
        nearest_in_training(x, a, b)
