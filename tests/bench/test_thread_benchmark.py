"""Steps on one thread and on more, in turn, by a planted clock."""

import pytest
import torch

from benchmarks.threads import WARMUP, Alternation, Enough


def train(timed, clock, took):
    """Take steps of the planted times until enough are timed."""
    for step in range(1000):
        now = took[torch.get_num_threads()]
        clock.now += now if step % 2 else 50.0  # the first step after a change is not timed
        timed()


def test_each_number_of_threads_has_its_own_steps(clock):
    before, timed = torch.get_num_threads(), Alternation(2, seconds=1000.0)
    torch.set_num_threads(1)
    try:
        with pytest.raises(Enough):
            train(timed, clock, {1: 3.0, 2: 2.0})
    finally:
        torch.set_num_threads(before)
    assert {count: set(times) for count, times in timed.times.items()} == {1: {3.0}, 2: {2.0}}
    assert sum(map(len, timed.times.values())) == (timed.steps - WARMUP) // 2
    assert abs(len(timed.times[1]) - len(timed.times[2])) <= 2
