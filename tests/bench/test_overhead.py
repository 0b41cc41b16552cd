"""The benchmark of the harness's own cost compares like with like."""

from __future__ import annotations

from benchmarks import overhead


def test_both_arms_do_the_same_arithmetic():
    _, plain = overhead.bare(epochs=2)
    _, harnessed = overhead.harnessed(epochs=2, checkpoint_seconds=0.0)
    assert harnessed == plain
    assert len(plain) == 2 * overhead.POINTS // overhead.BATCH
    assert len(set(plain)) == len(plain)


def test_cost_is_relative_to_both_bare_trainings_and_noise_to_one():
    seconds = {"bare": [2.0, 4.0], "control": [4.0, 4.0], "harness": [3.0, 5.0]}
    assert overhead.relative(seconds) == {"harness": [100.0, 125.0], "control": [200.0, 100.0]}
