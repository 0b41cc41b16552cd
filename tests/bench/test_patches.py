"""Patches of photographs: the recipe on planted images, the archive they are read from, and the real set."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import convert, patches, registry, tabular
from bench.data.photographs import greys_of
from bench.errors import UserError

needs_images = pytest.mark.skipif(
    not (Path(os.environ.get("CNF_BENCH_DATA", "")) / "bsds300").is_dir(),
    reason="needs CNF_BENCH_DATA to name a folder with bsds300/",
)


def generator(seed: int = 0) -> np.random.RandomState:
    return np.random.RandomState(seed)


def flat(train: int = 5, test: int = 2) -> dict[str, np.ndarray]:
    """Images of one grey level each on the left and that plus 100 on the right: train 0..4, test 50, 51."""
    levels = [("train", i, i) for i in range(train)] + [("test", i, 50 + i) for i in range(test)]
    return {f"{part}/{i}": np.repeat([[level, level + 100]], 20, 0).repeat(8, 1) for part, i, level in levels}


# Rows


def test_a_row_is_the_patch_with_noise_over_256_less_its_mean_without_its_last_pixel():
    levels, noise = np.arange(64.0)[None], np.full((1, 64), 0.5)
    (row,) = patches.rows_of(levels, noise)
    expected = (np.arange(64) - 31.5) / 256
    np.testing.assert_allclose(row, expected[:63], rtol=0, atol=1e-15)
    # The last pixel is known from the others.
    assert -row.sum() == pytest.approx(expected[63], abs=1e-14)


def test_the_noise_is_uniform_and_a_pixel_has_its_own():
    rows = patches.draw_patches([np.full((30, 40), 7)], 4000, generator())
    width = 256 * rows
    # U - mean of 64: variance 1/12 (1 - 1/64), covariance -1/12 1/64.
    np.testing.assert_allclose(width.var(0), 63 / 64 / 12, rtol=0.1)
    assert np.cov(width.T)[~np.eye(63, dtype=bool)].mean() == pytest.approx(-1 / 768, abs=2e-4)
    assert np.abs(width).max() < 1


def test_places_are_uniform_over_all_that_fit():
    """In an image whose level is its place, whose patches therefore say where they are."""
    height, width = 10, 13
    image = np.add.outer(16 * np.arange(height), np.arange(width))
    drawn = []

    def keep(levels, noise):
        drawn.append(levels[:, 0])
        return levels

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patches, "rows_of", keep)
        patches.draw_patches([image, image], 9000, generator())
    places, counts = np.unique(drawn[0], return_counts=True)
    assert places.tolist() == [16 * i + j for i in range(3) for j in range(6)]
    np.testing.assert_allclose(counts, 500, atol=5 * 500**0.5)


def test_a_patch_has_its_own_image_and_rows_before_columns():
    tall, wide = np.full((9, 8), 3), np.tile(np.arange(8), (8, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patches, "rows_of", lambda levels, noise: levels)
        rows = patches.draw_patches([tall, wide], 200, generator())
    of_tall = (rows == 3).all(1)
    assert 60 < of_tall.sum() < 140
    assert (rows[~of_tall] == np.tile(np.arange(8), 8)).all()


# Parts


def test_the_parts_have_no_image_in_common(monkeypatch):
    monkeypatch.setattr(patches, "rows_of", lambda levels, noise: levels)
    parts = patches.split_patches(flat(), generator(), (300, 200, 100), held_out=2)
    train, validation, test = ({level % 100 for level in np.unique(part)} for part in parts)
    assert [len(part) for part in parts] == [300, 200, 100]
    assert (len(train), len(validation), test) == (3, 2, {50, 51})
    assert train | validation == {0, 1, 2, 3, 4}


def test_the_order_of_the_archive_changes_nothing_and_the_seed_does():
    images = flat()
    backwards = dict(reversed(images.items()))
    sizes = (9, 5, 4)
    first, again = (patches.split_patches(x, generator(), sizes, 2) for x in (images, backwards))
    other = patches.split_patches(images, generator(1), sizes, 2)
    for a, b, c in zip(first, again, other, strict=True):
        assert (a == b).all()
        assert (a != c).any()


@pytest.mark.parametrize(("train", "test"), [(2, 1), (5, 0)])
def test_too_few_images_are_refused(train, test):
    with pytest.raises(ValueError, match=f"it has {train} images for training and {test} for testing"):
        patches.split_patches(flat(train, test), generator(), (1, 1, 1), held_out=2)


# The archive


def packed(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def jpeg(*colour: int, size: tuple[int, int] = (24, 16), kind: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, kind)
    return stream.getvalue()


def test_images_are_read_as_grey_by_part_and_name(tmp_path):
    place = tmp_path / "images.tar"
    place.write_bytes(
        packed(
            {"test/7.jpg": jpeg(200, 200, 200), "train/9.jpg": jpeg(255, 0, 0), "train/x.txt": b"no image"}
        )
    )
    for read in (greys_of, convert.greys):
        found = read(place)
        assert list(found) == ["test/7", "train/9"]
        assert found["test/7"].shape == (16, 24)
        assert (np.abs(found["test/7"].astype(int) - 200) <= 1).all()
        assert (np.abs(found["train/9"].astype(int) - 76) <= 2).all()  # 0.299 * 255


@pytest.mark.parametrize(
    "content",
    [
        b"no archive",
        packed({"train/1.txt": b""}),
        packed({"train/1.jpg": b"no image"}),
        packed({"train/1.jpg": jpeg(1, 2, 3, kind="PNG")}),
        packed({"train/1.jpg": jpeg(1, 2, 3)[:-200]}),
        packed({"train/1.jpg": jpeg(1, 2, 3)})[:-10300],
    ],
    ids=["text", "no image", "text as image", "PNG", "cut image", "cut archive"],
)
def test_other_files_are_refused(tmp_path, monkeypatch, content):
    place = tmp_path / "bsds300" / "images.tar"
    place.parent.mkdir()
    place.write_bytes(content)
    with pytest.raises(ValueError, match="its reader ended with code 1"):
        convert.greys(place)
    monkeypatch.setenv("CNF_BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("CNF_BENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="damaged or incomplete"):
        tabular.load("bsds300_patches")


def test_an_image_that_is_too_large_is_not_decoded(tmp_path, monkeypatch):
    place = tmp_path / "images.tar"
    place.write_bytes(packed({"train/1.jpg": jpeg(1, 2, 3)}))
    monkeypatch.setattr("bench.data.photographs.LARGEST", 100)
    with pytest.raises(ValueError, match=r"train/1\.jpg has \d+ bytes"):
        greys_of(place)


# The set


@needs_images
def test_the_real_patches_are_those_of_natural_images():
    parts = tabular.load("bsds300_patches")
    assert [part.shape for part in (parts.train, parts.validation, parts.test)] == [
        (50_000, 63), (5_000, 63), (10_000, 63),
    ]  # fmt: skip
    assert len(np.unique(parts.train, axis=0)) == 50_000
    assert not set(map(bytes, parts.train)) & set(map(bytes, parts.test))
    # Neighbours are alike, across the ends of rows they are not as much.
    similar = np.corrcoef(parts.train.T)
    beside, below, apart = (np.diag(similar, k).copy() for k in (1, 8, 7))
    ends = np.arange(62) % 8 == 7
    assert beside[~ends].mean() > 0.6
    assert below.mean() > 0.5
    assert beside[ends].mean() < 0.2
    assert apart.mean() < below.mean()
    assert registry.get("bsds300_patches").hashes() == {
        "bsds300/images.tar": "b09c2bf4dfe6c66304667a661e1f0272c80b51cc46ce0176e9acf12a06431a64"
    }
