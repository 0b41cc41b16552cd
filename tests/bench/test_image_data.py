from __future__ import annotations

import dataclasses
import gzip
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import images, registry
from bench.errors import UserError

needs_mnist = pytest.mark.skipif(
    not (Path(os.environ.get("CNF_BENCH_DATA", "")) / "mnist").is_dir(),
    reason="needs CNF_BENCH_DATA to name a folder with mnist/",
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def idx(values: np.ndarray) -> bytes:
    header = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return gzip.compress(header + values.astype(np.uint8).tobytes(), mtime=0)


def put(folder: Path, path: str, content: bytes) -> Path:
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


# Images


def planted_mnist(folder: Path, pixels: bytes, labels: bytes) -> dict[str, Path]:
    contents = {"mnist/t10k-images-idx3-ubyte.gz": pixels, "mnist/t10k-labels-idx1-ubyte.gz": labels}
    return {path: put(folder, path, content) for path, content in contents.items()}


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 28, 28))
LABELS = np.array([3, 1, 4, 1, 9])


def test_idx_files_are_parsed(tmp_path):
    pixels, labels = images.load_mnist("test", planted_mnist(tmp_path, idx(PIXELS), idx(LABELS)))
    assert pixels.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert pixels.tolist() == PIXELS.tolist()
    assert labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("pixels", "labels", "fault"),
    [
        (idx(PIXELS)[:-20], idx(LABELS), "not a whole gzip"),
        (b"plain", idx(LABELS), "not a whole gzip"),
        (idx(LABELS), idx(LABELS), "not an idx file of 3-D"),
        (gzip.compress(b"\0\0\x08\x03", mtime=0), idx(LABELS), "not an idx file of 3-D"),
        (
            gzip.compress(gzip.decompress(idx(PIXELS))[:-1], mtime=0),
            idx(LABELS),
            "holds 3919 bytes but announces 3920",
        ),
        (idx(PIXELS), idx(LABELS[:4]), "5 images but .* 4 labels"),
    ],
)
def test_malformed_idx_files_are_refused(tmp_path, pixels, labels, fault):
    with pytest.raises(UserError, match=fault):
        images.load_mnist("test", planted_mnist(tmp_path, pixels, labels))


def test_unknown_split_is_refused():
    with pytest.raises(UserError, match="'valid': choose train or test"):
        images.load_mnist("valid", {})


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 with an early numpy wrote: byte strings, numpy.core, integer flags of dtypes."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, text):
        content = text if isinstance(text, bytes) else text.encode()
        self.write(b"T" + struct.pack("<i", len(content)) + content)

    dispatch[str] = dispatch[bytes] = save_string

    def reducer_override(self, value):
        if isinstance(value, np.dtype):
            return np.dtype, (value.str[1:], 0, 1), value.__reduce__()[2]
        return NotImplemented


def python2_pickle(value) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"numpy._core", b"numpy.core")


def planted_cifar(folder: Path, members: dict[str, bytes]) -> dict[str, Path]:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    path = "cifar10/cifar-10-python.tar.gz"
    return {path: put(folder, path, stream.getvalue())}


def test_cifar10_batches_are_joined_in_order_whatever_the_archives(tmp_path):
    rng = np.random.default_rng(1)
    rows = {f"data_batch_{i}": rng.integers(0, 256, (2, 3072), dtype=np.uint8) for i in range(1, 6)}
    members = {"readme.html": b"not a pickle", "test_batch": b"not one either"}
    for i, name in reversed(list(enumerate(rows))):
        members[name] = python2_pickle(
            {"data": rows[name], "labels": [i, 9 - i], "filenames": ["a.png", "b.png"]}
        )
    pixels, labels = images.load_cifar10("train", planted_cifar(tmp_path, members))
    assert (pixels.shape, pixels.dtype, labels.dtype) == ((10, 3, 32, 32), torch.uint8, torch.int64)
    assert labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    # A row is the red plane, the green plane, the blue plane, each row by row.
    assert pixels[4, 1, 2, 3] == rows["data_batch_3"][0, 1024 + 2 * 32 + 3]


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"readme.html": b""}, "test_batch"),
        ({"test_batch": python2_pickle({"labels": [1]})}, "data"),
        ({"test_batch": pickle.dumps({b"data": os.getcwd})}, "getcwd"),
        (
            {"test_batch": b"\x80\x02}" + b")" + b"\x85" * 300_000 + b"K\x01s."},
            "its reader ended with code -11",
        ),
    ],
    ids=["no batch", "no images", "a function", "what overflows the stack"],
)
def test_malformed_cifar10_archives_are_refused(tmp_path, members, fault):
    with pytest.raises(UserError, match=f"not CIFAR-10's Python archive .*{fault}"):
        images.load_cifar10("test", planted_cifar(tmp_path, members))


def test_digits_are_split_by_class_and_normalised():
    train, test = images.load("digits", "train"), images.load("digits", "test")
    assert (train.images.shape, test.images.shape) == ((1442, 1, 8, 8), (355, 1, 8, 8))
    share = test.labels.bincount() / (train.labels.bincount() + test.labels.bincount())
    assert ((share - 0.2).abs() < 0.01).all()
    assert torch.equal(train.images, images.load("digits", "train").images)
    pixels = train.normalised().double()
    assert pixels.mean().abs() < 3e-4
    assert (pixels.std() - 1).abs() < 3e-4


def test_other_digits_than_the_registered_are_refused(monkeypatch):
    altered = dataclasses.replace(registry.get("digits"), sha256="0" * 64)
    monkeypatch.setattr(registry, "_registry", lambda: {"digits": altered})
    with pytest.raises(UserError, match="scikit-learn's digits differ"):
        images.load("digits", "train")


@needs_mnist
def test_mnist_is_the_real_one():
    train, test = images.load("mnist", "train"), images.load("mnist", "test")
    assert (train.images.shape, test.images.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    assert train.labels.bincount().tolist()[:3] == [5923, 6742, 5958]
    share, level = train.images.flatten().bincount() / train.images.numel(), torch.arange(256) / 255
    mean = (share * level).sum()
    assert round(mean.item(), 4) == train.mean[0] == 0.1307
    assert round((share @ level**2 - mean**2).sqrt().item(), 4) == train.std[0] == 0.3081
    assert test.normalised().dtype == torch.float32
    assert {status for _, status in registry.get("mnist").check()} == {"ok"}


def test_normalise_is_per_channel():
    raw = torch.tensor([[[[0]], [[5]], [[10]]]], dtype=torch.uint8)
    data = images.ImageSet(raw, torch.zeros(1), 2, (0.0, 0.5, 0.25), (1.0, 2.0, 0.5), white=10.0)
    assert data.normalised().flatten().tolist() == [0.0, 0.0, 1.5]


# Batches and crops


@settings(deadline=None, max_examples=50)
@given(n=st.integers(0, 50), batch=st.integers(1, 20), seed=st.integers(0, 9))
def test_minibatches_are_a_partition(n, batch, seed):
    epoch = list(images.minibatches(n, batch, generator(seed)))
    assert sorted(i for part in epoch for i in part.tolist()) == list(range(n))
    assert all(len(part) == batch for part in epoch[:-1])


def test_minibatches_follow_the_generator():
    def epoch(source):
        return torch.cat(list(images.minibatches(100, 7, source))).tolist()

    source = generator(1)
    first, second = epoch(source), epoch(source)
    assert first == epoch(generator(1))
    assert first != second
    assert first != epoch(generator(2))


def test_crop_equals_the_slow_one():
    raw = torch.randint(1, 256, (40, 2, 6, 5), generator=generator(), dtype=torch.uint8)
    crops = images.random_crop(raw, 3, generator(1))
    assert (crops.dtype, crops.shape) == (raw.dtype, raw.shape)
    offsets = set()
    for image, crop in zip(raw.numpy(), crops.numpy(), strict=True):
        padded = np.pad(image, ((0, 0), (3, 3), (3, 3)))
        windows = {(i, j): padded[:, i : i + 6, j : j + 5] for i in range(7) for j in range(7)}
        (offset,) = [at for at, window in windows.items() if np.array_equal(window, crop)]
        offsets.add(offset)
    assert {i for i, _ in offsets} == {j for _, j in offsets} == set(range(7))
    assert len(offsets) > 7  # the two axes are drawn apart


def test_crop_follows_the_generator_and_leaves_its_input():
    raw = torch.rand(20, 1, 8, 8, generator=generator())
    before = raw.clone()
    assert torch.equal(images.random_crop(raw, 2, generator(1)), images.random_crop(raw, 2, generator(1)))
    assert not torch.equal(images.random_crop(raw, 2, generator(1)), images.random_crop(raw, 2, generator(2)))
    assert torch.equal(images.random_crop(raw, 0, generator(1)), before)
    assert torch.equal(raw, before)


# Series


def test_mean_and_spread_of_cifar10_are_those_of_its_pixels():
    """Of 8068 training images; the spread of those of one channel differs from that of all by 1 %."""
    path = Path(os.environ.get("CNF_BENCH_DATA", "")) / "cifar10_subset" / "cifar10_subset.npz"
    if not path.is_file():
        pytest.skip(f"needs CNF_BENCH_DATA to name a folder with {path.parent.name}/{path.name}")
    with np.load(path) as parts:
        pixels = np.concatenate([parts[f"data_batch_{i}"] for i in range(1, 6)]) / 255.0
    recipe = images._RECIPES["cifar10"]
    np.testing.assert_allclose(pixels.mean((0, 2, 3)), recipe.mean, rtol=0.01)
    np.testing.assert_allclose(pixels.std((0, 2, 3)), recipe.std, rtol=0.01)


def test_a_file_of_no_images_is_whole(tmp_path):
    path = tmp_path / "none.gz"
    path.write_bytes(idx(np.zeros((0, 28, 28), np.uint8)))
    assert images._read_idx(path, 3).shape == (0, 28, 28)
