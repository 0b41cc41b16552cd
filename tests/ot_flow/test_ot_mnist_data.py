"""Images to train, validate and test on, of which none is in two sets."""

from pathlib import Path

import pytest
import torch
from planted_images import H, N, W, new_run, settings, synthetic
from torch import Tensor

from bench.errors import UserError
from replications.ot_flow.experiments.mnist import data as module
from replications.ot_flow.experiments.mnist.data import images
from replications.tasks.splits import TestSet, TrainSet, ValidationSet


@pytest.fixture(autouse=True)
def _images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load", synthetic)


def rows(x: Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in x.tolist()}


def test_sets_are_of_their_kind_disjoint_and_complete(tmp_path: Path) -> None:
    split = images(new_run(tmp_path), settings()).split
    for part, kind in ((split.train, TrainSet), (split.validation, ValidationSet), (split.test, TestSet)):
        assert type(part) is kind
    train, validation = rows(split.train.points), rows(split.validation.points)
    assert (len(train), len(validation)) == (N - 20, 20)
    assert not train & validation
    assert train | validation == rows(synthetic("", "train").images.flatten(1).float() / 255)
    other = images(new_run(tmp_path, seed=1), settings()).split
    assert rows(other.validation.points) != validation


def test_test_images_are_the_first_of_the_test_set(tmp_path: Path) -> None:
    expected = synthetic("", "test").images.flatten(1).float() / 255
    for n, kept in ((20, 20), (0, N)):
        test = images(new_run(tmp_path), settings(test_images=n)).split.test
        assert torch.equal(test.points, expected[:kept])


def test_corners_are_three_nines_and_a_one_of_the_test_set(tmp_path: Path) -> None:
    data = images(new_run(tmp_path), settings())
    expected = synthetic("", "test").images[[9, 19, 29, 1]].flatten(1).float() / 255
    assert isinstance(data.corners, TestSet)
    assert torch.equal(data.corners.points, expected)
    assert (data.shape, data.mean, data.std) == ((H, W), 0.5, 0.29)


def test_pixels_have_the_type_of_the_training(tmp_path: Path) -> None:
    assert images(new_run(tmp_path), settings(double=True)).split.train.points.dtype == torch.float64


def test_all_images_for_validation_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="120 validation images leave none of 120 to train on"):
        images(new_run(tmp_path), settings(validation_images=N))
    with pytest.raises(UserError, match="'validation_images' must be at least 1, got 0"):
        settings(validation_images=0)
