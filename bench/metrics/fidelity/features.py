"""Features of samples by a registered extractor, kept in the data cache by the hash of their content."""

from __future__ import annotations

import hashlib
import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench import files
from bench.arrays import read_npz
from bench.data.registry import cache_folder
from bench.errors import Unwritable, UserError
from bench.identity import canonical
from bench.metrics.fidelity.extractors import Extractor
from bench.metrics.fidelity.library import library

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 250


@dataclass(frozen=True)
class Features:
    """What an extractor gives of N samples, in float64.

    Attributes:
        features: `(N, d)`, for FID, KID, precision and recall.
        logits: `(N, C)`, for IS.
    """

    features: NDArray[np.float64]
    logits: NDArray[np.float64]


def extract(
    samples: NDArray[Any] | Tensor,
    extractor: Extractor,
    device: str = "cpu",
    keep: bool = False,
    what: str = "sample set",
) -> Features:
    """Return the features of samples.

    Args:
        samples: see `Extractor`.
        extractor: of `bench.metrics.fidelity.extractors`.
        device: where the network runs.
        keep: whether to look them up in the cache and leave them there. The key is the SHA-256 of the samples' bytes,
            shape and dtype, the extractor's name, its weights' SHA-256, the kind of device and torch's version.
        what: name of the samples in a message.

    Raises:
        UserError: the samples are not what the extractor takes, its weights are absent, or torch-fidelity is.
    """
    x = extractor.checked(samples, what)
    weights = extractor.weights()
    place = cache_folder() / "fidelity" / f"{_key(x, extractor, weights, device)}.npz" if keep else None
    layers = _read(place) or _compute(x, extractor, weights, device)
    if place and not place.exists():
        stream = io.BytesIO()
        np.savez(stream, features=layers[0], logits=layers[1])
        with suppress(Unwritable):  # a cache that can not be written costs time, no result
            files.write(place, stream.getvalue(), cache_folder())
    return Features(*(layer.astype(np.float64) for layer in layers))


def _compute(
    x: NDArray[Any], extractor: Extractor, weights: Path | None, device: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    import torch

    extractor.register()
    # torch-fidelity would download weights itself where it is given none: it is always given a checked file.
    options = {"feature_extractor_weights_path": weights} if weights else {}
    network = library("utils").create_feature_extractor(
        extractor.name, list(extractor.layers), cuda=False, verbose=False, **options
    )
    network.to(device)
    with torch.no_grad():
        parts = [network(part.to(device)) for part in torch.tensor(x).split(BATCH)]
    features, logits = (torch.cat(layer).cpu().numpy() for layer in zip(*parts))
    return features, logits


def _key(x: NDArray[Any], extractor: Extractor, weights: Path | None, device: str) -> str:
    import torch

    head = {
        "shape": x.shape,
        "dtype": x.dtype.str,
        "extractor": [extractor.name, *extractor.layers],
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest() if weights else "",
        "device": device.partition(":")[0],
        "torch": torch.__version__,
    }
    state = hashlib.sha256(canonical(head).encode())
    state.update(x.data)
    return state.hexdigest()


def _read(place: Path | None) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return what a file of the cache holds; None, and no file, where it is absent or damaged."""
    if place is None or not place.is_file():
        return None
    try:
        layers = read_npz(place)
        return layers["features"], layers["logits"]
    except (UserError, KeyError):
        files.remove(place, cache_folder())
        return None
