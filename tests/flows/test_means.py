"""Means over points from means over batches, and the evaluations of a point."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from replications.flows.means import averaged_over, cycled, mean_over_points, sizes_of
from replications.flows.ode.counter import Counter, counted


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(1, 70))
def test_means_over_batches_give_the_mean_over_points(values: list[float], batch: int) -> None:
    parts = [values[i : i + batch] for i in range(0, len(values), batch)]
    sizes = sizes_of(len(values), batch)
    assert sizes == [len(part) for part in parts]
    found = mean_over_points([np.mean(part) for part in parts], sizes)
    assert found == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)


def test_equal_batches_give_the_plain_mean_to_the_last_bit() -> None:
    values = [0.1, 0.7, 0.3]
    assert mean_over_points(values, [7, 7, 7]) == mean_over_points(values, [1, 1, 1])
    assert averaged_over([7, 7]) == averaged_over([7]) == "batches"
    assert averaged_over([7, 7, 2]) == "points"


def test_sizes_come_again_each_epoch() -> None:
    assert cycled([4, 4, 2], 7) == [4, 4, 2, 4, 4, 2, 4]
    assert cycled([1], 3) == [1, 1, 1]


@pytest.mark.parametrize("sizes", [[], [1], [1, 0], [1, 2, 3]])
def test_sizes_that_fit_no_batches_are_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="as many positive sizes"):
        mean_over_points([1.0, 2.0], sizes)


def test_a_point_has_the_evaluations_of_its_batch() -> None:
    counter = Counter()
    counter.count(99)

    def solve(part: torch.Tensor) -> torch.Tensor:
        counter.count(10 if len(part) == 4 else 40)
        return part + 1

    x = torch.arange(9.0)
    found, nfe = counted(counter, solve, x.split(4))
    assert torch.equal(torch.cat(found), x + 1)
    assert nfe == (4 * 10 + 4 * 10 + 1 * 40) / 9


def test_no_value_has_no_mean() -> None:
    with pytest.raises(ValueError, match="as many positive sizes as values"):
        mean_over_points([], [])
