"""Image data sets as raw tensors, their normalisation, minibatches and random crops."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bench.data import registry
from bench.data.convert import cifar10
from bench.errors import UserError
from bench.text import told

Paths = Mapping[str, Path]
Arrays = tuple[Tensor, Tensor]

UNPACKED = 2**27
"""Bytes that a gzipped file of images may unpack to."""


@dataclass(frozen=True)
class ImageSet:
    """A split of an image data set.

    `images` are raw, uint8 `(N, C, H, W)` with values in 0..`white`; `labels` are int64 `(N,)`; `mean` and
    `std` are those of the training images on the scale 0..1, per channel `(C,)`.
    """

    images: Tensor
    labels: Tensor
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    white: float

    def normalise(self, raw: Tensor) -> Tensor:
        """Return (raw / white - mean) / std in float32 for a raw batch `(B, C, H, W)`."""
        mean, std = (
            raw.new_tensor(value, dtype=torch.float32)[:, None, None] for value in (self.mean, self.std)
        )
        return (raw.float() / self.white - mean) / std

    def normalised(self) -> Tensor:
        """Return all images normalised, float32 `(N, C, H, W)`."""
        return self.normalise(self.images)


def load(name: str, split: str) -> ImageSet:
    """Load the split `train` or `test` of a data set that is here already; never downloads.

    Raises `UserError`: unknown name or split, absent files, a wrong checksum, a malformed file.
    """
    data_set = registry.get(name)
    if name not in _RECIPES:
        raise UserError(f"data set {name} does not hold images: choose one of {', '.join(sorted(_RECIPES))}")
    recipe = _RECIPES[name]
    images, labels = recipe.loader(split, data_set.require())
    if images.ndim == 3:
        images = images.unsqueeze(1)
    return ImageSet(images, labels, recipe.classes, recipe.mean, recipe.std, recipe.white)


def load_mnist(split: str, paths: Paths) -> Arrays:
    """Return MNIST's images uint8 `(N, 28, 28)` and labels int64 `(N,)`.

    Raises `UserError`: unknown split or malformed file.
    """
    stem = _of_split(split, train="train", test="t10k")
    image_path, label_path = (
        paths[f"mnist/{stem}-{kind}-ubyte.gz"] for kind in ("images-idx3", "labels-idx1")
    )
    images, labels = _read_idx(image_path, 3), _read_idx(label_path, 1)
    if len(images) != len(labels):
        raise UserError(f"{image_path} has {len(images)} images but {label_path} {len(labels)} labels")
    return torch.from_numpy(images), torch.from_numpy(labels).long()


def load_cifar10(split: str, paths: Paths) -> Arrays:
    """Return CIFAR-10's images uint8 `(N, 3, 32, 32)` and labels int64 `(N,)`.

    Raises `UserError`: unknown split or malformed archive.
    """
    path = paths["cifar10/cifar-10-python.tar.gz"]
    try:
        arrays = cifar10(path, _of_split(split, train="train", test="test"))
        images, labels = arrays["data"].reshape(-1, 3, 32, 32), arrays["labels"]
    except UserError:
        raise
    except Exception as fault:  # a damaged archive can fail in any way
        reason = told(fault)
        raise UserError(f"{path} is not CIFAR-10's Python archive ({reason}): fetch it again") from fault
    return torch.from_numpy(images), torch.from_numpy(labels)


def load_digits(split: str, paths: Paths) -> Arrays:
    """Return scikit-learn's digits, images uint8 0..16 `(N, 8, 8)` and labels int64 `(N,)`.

    Every fifth image of each class, in the set's own order, is a test image: 1442 train, 355 test.

    Raises `UserError`: unknown split, or the installed scikit-learn ships other data.
    """
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    images, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    if hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() != registry.get("digits").sha256:
        raise UserError(
            "scikit-learn's digits differ from the registered ones: install another version of it"
        )
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rank[labels == label] = np.arange(np.sum(labels == label))
    chosen = (rank % 5 == 4) == _of_split(split, train=False, test=True)
    return torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen]).long()


def minibatches(n: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield one epoch's index tensors `(batch,)`, a random permutation of 0..n-1; the last may be shorter."""
    yield from torch.randperm(n, generator=generator, device=generator.device).split(batch)


def random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Shift each raw image `(B, C, H, W)` by its own uniform offset in -padding..padding per axis.

    The law is that of torchvision's RandomCrop(H, padding), which comes before ToTensor and Normalize:
    what moves in is raw black, so crop first and normalise afterwards.
    """
    b, _, h, w = images.shape
    arange = partial(torch.arange, device=images.device)
    padded = functional.pad(images, [padding] * 4)
    top, left = torch.randint(2 * padding + 1, (2, b, 1, 1), generator=generator, device=generator.device).to(
        images.device
    )
    rows, columns = top + arange(h)[:, None], left + arange(w)
    crops = padded[arange(b)[:, None, None], :, rows, columns]  # (B, H, W, C)
    return crops.permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class _Recipe:
    """How to load a set, and the mean, standard deviation and white level of its training images."""

    loader: Callable[[str, Paths], Arrays]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    white: float = 255.0
    classes: int = 10


_RECIPES = {
    "mnist": _Recipe(load_mnist, (0.1307,), (0.3081,)),
    # Over all pixels; the (0.2023, 0.1994, 0.2010) also seen for std is a mean of per-image values.
    "cifar10": _Recipe(load_cifar10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "digits": _Recipe(load_digits, (0.3051,), (0.3762,), white=16.0),
}


def _of_split(split: str, **values: Any) -> Any:
    if split not in values:
        raise UserError(f"no split is called {split!r}: choose train or test")
    return values[split]


def _read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """Read a gzipped idx file: magic 0 0 8 ndim, big-endian 32-bit sizes, then unsigned bytes."""
    try:
        with gzip.open(path) as stream:
            content = stream.read(UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as fault:
        raise UserError(f"{path} is not a whole gzip file ({fault}): fetch it again") from fault
    if len(content) > UNPACKED:
        raise UserError(f"{path} unpacks to more than {UNPACKED} bytes: fetch it again")
    header = 4 * (ndim + 1)
    if content[:4] != bytes([0, 0, 8, ndim]) or len(content) < header:
        raise UserError(f"{path} is not an idx file of {ndim}-D unsigned bytes: fetch it again")
    shape = np.frombuffer(content[4:header], dtype=">u4").tolist()
    if len(content) - header != math.prod(shape):
        raise UserError(
            f"{path} holds {len(content) - header} bytes but announces {math.prod(shape)}: fetch it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape).copy()
