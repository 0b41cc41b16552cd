"""Data to train, validate and test on are told apart by type and by stream."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.execution.run import Run
from bench.identity import Identity
from replications.tasks.splits import (
    Fresh,
    TestSet,
    TrainBatches,
    TrainSet,
    ValidationSet,
    at_random,
    first,
    held_out,
    mapped,
    to_train,
    to_validate,
)


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
    assert batches.sizes == [4, 4, 2] == [len(batches(i)) for i in range(3)]
    epoch = torch.cat([batches(i) for i in range(3)])[:, 0]
    assert sorted(epoch.tolist()) == list(range(10))
    assert epoch.tolist() != list(range(10))
    assert batches(2).shape == (2, 1)
    assert torch.equal(batches.labels(1), batches(1)[:, 0].long() + 100)
    with pytest.raises(TypeError, match="takes a TrainSet"):
        TrainBatches(run, TestSet(train.points), 4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no labels"):
        TrainBatches(run, TrainSet(train.points), 4).labels(0)


def test_a_training_and_a_validation_take_their_own_kind_only() -> None:
    x = torch.arange(6.0).reshape(3, 2)
    assert to_train(TrainSet(x)) is x
    assert to_validate(ValidationSet(x)) is x
    for other in (TestSet(x), ValidationSet(x)):
        with pytest.raises(TypeError, match="takes a TrainSet"):
            to_train(other)  # type: ignore[arg-type]
    for other in (TestSet(x), TrainSet(x)):
        with pytest.raises(TypeError, match="takes a ValidationSet"):
            to_validate(other)  # type: ignore[arg-type]


def test_points_at_random_are_a_subset_without_repetition_of_their_kind() -> None:
    part = TestSet(torch.arange(50.0)[:, None], torch.arange(50) + 100)
    few = at_random(part, 20, torch.Generator().manual_seed(0))
    assert isinstance(few, TestSet)
    assert len(set(few.points[:, 0].tolist())) == 20
    assert few.points[:, 0].tolist() != list(range(20))
    assert few.labels is not None
    assert torch.equal(few.labels, few.points[:, 0].long() + 100)
    again = at_random(part, 20, torch.Generator().manual_seed(0))
    assert torch.equal(few.points, again.points)
    for n in (0, 50):
        assert at_random(part, n, torch.Generator()) is part


def test_mapped_points_keep_their_kind_and_labels() -> None:
    labels = torch.tensor([7, 8, 9])
    part = mapped(ValidationSet(torch.arange(6.0).reshape(3, 2), labels), lambda x: x.sum(1))
    assert isinstance(part, ValidationSet)
    assert part.points.tolist() == [1.0, 5.0, 9.0]
    assert part.labels is labels


def test_a_pool_is_for_training_and_no_test_draws_from_its_stream(run: Run) -> None:
    fresh = Fresh(run, normal)
    pool, source = fresh.pool(30), fresh.pool(30, "train source")
    assert isinstance(pool, TrainSet)
    assert torch.equal(pool.points, fresh.pool(30).points)
    assert not torch.equal(pool.points, source.points)
    for stream in ("train", "train source"):
        for draw in (fresh.test, fresh.validation):
            with pytest.raises(ValueError, match="stream of the training"):
                draw(3, stream)
    with pytest.raises(ValueError, match="no stream of the training"):
        fresh.pool(3, "test")
