"""The images of a run: training images train and judge, test images are judged, and none is the other."""

import dataclasses
from pathlib import Path

import pytest
import torch
from planted_images_fm import dark_and_bright, new_run

from replications.flow_matching.experiments.images import data as module
from replications.flow_matching.experiments.images.data import Images, to_bytes
from replications.tasks.splits import TestSet, TrainSet


def test_bytes_are_levels_with_white_255() -> None:
    assert to_bytes(torch.tensor([0.0, 8, 16]), 17).tolist() == [0, 128, 255]
    assert to_bytes(torch.arange(256), 256).tolist() == list(range(256))


def test_parts_are_of_their_kind_and_their_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load", dark_and_bright)
    data = Images(*new_run(tmp_path))
    assert type(data.train) is TrainSet
    assert type(data.test) is TestSet
    assert data.train.points.max() < 10
    assert data.test.points.min() >= 200
    assert (data.levels, data.classes, data.shape) == (256, 10, (1, 8, 8))
    assert (256 * data.batch(0)[0]).max() <= 10


def test_a_batch_is_dequantised_training_images_with_their_classes(tmp_path: Path) -> None:
    data = Images(*new_run(tmp_path, batch=50))
    x, labels = data.batch(3)
    again, _ = data.batch(3)
    assert torch.equal(x, again)
    rows = data._batches.index(3)
    v = data.train.points[rows].float()
    assert torch.equal((17 * x).floor(), v)
    noise = 17 * x - v
    assert noise.mean().item() == pytest.approx(0.5, abs=0.03)
    assert noise.std().item() == pytest.approx(12**-0.5, abs=0.03)
    assert data.train.labels is not None
    assert torch.equal(labels, data.train.labels[rows])
    later = data.batch(4)[0]  # of fresh noise, not only of other images
    assert not torch.allclose((17 * later).frac(), (17 * x).frac(), atol=1e-3)


def test_half_of_the_training_images_are_mirrored_where_told(tmp_path: Path) -> None:
    run, config = new_run(tmp_path, "ot_cfm", batch=1442)
    x, _ = Images(run, config).batch(0)
    plain = Images(run, dataclasses.replace(config, flip=False))
    v, seen = plain.train.points[plain._batches.index(0)].float(), (17 * x).floor()
    kept = (seen == v).flatten(1).all(1)
    assert torch.equal(seen[~kept], v.flip(3)[~kept])
    assert 0.4 < kept.float().mean() < 0.6


def test_subsets_are_random_not_a_prefix_and_fixed(tmp_path: Path) -> None:
    run, config = new_run(tmp_path)
    data = Images(run, config)
    first, again = (data.drawn(data.train, 200, "reference") for _ in range(2))
    assert torch.equal(first.points, again.points)
    assert not torch.equal(first.points, data.train.points[:200])
    assert data.drawn(data.train, 0, "reference") is data.train
    assert type(first) is TrainSet
    assert type(data.drawn(data.test, 5, "real images")) is TestSet
    assert len({tuple(v.flatten().tolist()) for v in first.points}) > 190  # without replacement
    other = Images(*new_run(tmp_path, seed=1))
    assert not torch.equal(first.points, other.drawn(other.train, 200, "reference").points)


def test_bytes_of_a_part_keep_its_kind_and_labels(tmp_path: Path) -> None:
    data = Images(*new_run(tmp_path))
    found = data.as_bytes(data.test)
    assert type(found) is TestSet
    assert found.points.dtype == torch.uint8
    assert found.points.max() == 255
    assert torch.equal(found.points, to_bytes(data.test.points, 17))
    assert torch.equal(found.labels, data.test.labels)  # type: ignore[arg-type]


def test_classes_are_distributed_as_those_of_the_training_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_three(name: str, split: str) -> object:
        found = dark_and_bright(name, split)
        labels = torch.full_like(found.labels, 3 if split == "train" else 7)
        return dataclasses.replace(found, labels=labels)

    monkeypatch.setattr(module, "load", only_three)
    assert Images(*new_run(tmp_path)).classes_at_random(20).tolist() == [3] * 20
    monkeypatch.setattr(module, "load", dark_and_bright)
    data = Images(*new_run(tmp_path))
    many = data.classes_at_random(5000)
    shares = torch.bincount(many, minlength=10) / 5000
    assert (shares - 0.1).abs().max() < 4 * (0.09 / 5000) ** 0.5
    assert torch.equal(many[:7], data.classes_at_random(5000)[:7])
