"""Data to train, validate and test on are told apart by type and by stream."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.execution.run import Run
from bench.identity import Identity
from replications.tasks.splits import Fresh, TestSet, TrainBatches, TrainSet, ValidationSet, first, held_out


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Identity("test.splits", "only", "smoke", 0, 1, {}, {}), tmp_path)


def normal(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(n, 2))


def test_an_evaluation_takes_test_points_only() -> None:
    x = torch.arange(6.0).reshape(3, 2)
    assert held_out(TestSet(x)) is x
    for other in (TrainSet(x), ValidationSet(x), x):
        with pytest.raises(TypeError, match="takes a TestSet"):
            held_out(other)  # type: ignore[arg-type]


def test_the_first_points_keep_their_kind_and_labels() -> None:
    part = TestSet(torch.arange(6.0).reshape(3, 2), torch.tensor([7, 8, 9]))
    few = first(part, 2)
    assert isinstance(few, TestSet)
    assert few.points.tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert few.labels is not None
    assert few.labels.tolist() == [7, 8]
    assert first(part, 0) is part
    assert len(few) == 2


def test_fresh_points_of_training_validation_and_test_have_no_point_in_common(run: Run) -> None:
    fresh = Fresh(run, normal)
    parts = [
        fresh.batch(0, 50),
        fresh.batch(1, 50),
        fresh.validation(50),
        fresh.test(50),
        fresh.test(50, "again"),
    ]
    rows = {tuple(point) for part in parts for point in part.points.tolist()}
    assert len(rows) == 250
    assert isinstance(parts[0], TrainSet)
    assert isinstance(parts[2], ValidationSet)
    assert isinstance(parts[3], TestSet)
    assert torch.equal(fresh.batch(1, 50).points, parts[1].points)
    assert torch.equal(fresh.test(50).points, parts[3].points)


def test_no_evaluation_draws_from_a_stream_of_the_training(run: Run) -> None:
    fresh = Fresh(run, normal)
    for draw in (fresh.test, fresh.validation):
        with pytest.raises(ValueError, match="stream of the training"):
            draw(3, "batch/0")


def test_batches_are_permutations_of_the_training_set(run: Run) -> None:
    train = TrainSet(torch.arange(10.0)[:, None], torch.arange(10) + 100)
    batches = TrainBatches(run, train, 4)
    assert batches.per_epoch == 3
    epoch = torch.cat([batches(i) for i in range(3)])[:, 0]
    assert sorted(epoch.tolist()) == list(range(10))
    assert epoch.tolist() != list(range(10))
    assert batches(2).shape == (2, 1)
    assert torch.equal(batches.labels(1), batches(1)[:, 0].long() + 100)
    with pytest.raises(TypeError, match="takes a TrainSet"):
        TrainBatches(run, TestSet(train.points), 4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no labels"):
        TrainBatches(run, TrainSet(train.points), 4).labels(0)
