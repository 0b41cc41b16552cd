"""Features of samples by a registered extractor, kept in the data cache by the hash of their content.

Images larger than the network's input are shrunk to it first, by bilinear interpolation with antialiasing, and rounded
to levels again (parmar2022aliased). Without that a network's own resizing takes every so many pixels and drops the
others. Smaller images are left to the network, see `extractors`.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.data.registry import cache_folder
from bench.errors import Unwritable, UserError
from bench.identity import canonical
from bench.metrics.fidelity.extractors import Extractor
from bench.metrics.fidelity.levels import WHITE, check_alike
from bench.metrics.fidelity.library import library
from bench.record import write_atomically

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
        UserError: the samples are not what the extractor takes, its weights are absent, or torch-fidelity is; a
            feature is not finite.
    """
    x = shrunk(extractor.checked(samples, what), extractor)
    weights = extractor.weights()
    place = cache_folder() / "fidelity" / f"{_key(x, extractor, weights, device)}.npz" if keep else None
    layers = _read(place) or _compute(x, extractor, weights, device)
    if not all(np.isfinite(layer).all() for layer in layers):
        raise UserError(
            f"{extractor.name} gives the {what} features that are not finite: score smaller values"
        )
    if place and not place.exists():
        stream = io.BytesIO()
        np.savez(stream, features=layers[0], logits=layers[1])
        with suppress(Unwritable):  # a cache that can not be written costs time, no result
            write_atomically(place, stream.getvalue())
    return Features(*(layer.astype(np.float64) for layer in layers))


def both(
    samples: NDArray[Any] | Tensor,
    reference: NDArray[Any] | Tensor,
    extractor: Extractor,
    device: str = "cpu",
) -> tuple[Features, Features]:
    """Return the features of samples and of their reference, which stay in the cache; checks both against each other.

    Raises:
        UserError: see `extract`; one has another shape than the other, or another kind of levels, see `levels`.
    """
    compatible(samples, reference, extractor)
    return extract(samples, extractor, device), extract(reference, extractor, device, True, "reference")


def compatible(
    samples: NDArray[Any] | Tensor, reference: NDArray[Any] | Tensor, extractor: Extractor
) -> None:
    """Check that samples and reference are what an extractor takes, of one shape and one kind of levels.

    Raises:
        UserError: see `both`.
    """
    x, y = extractor.checked(samples, "sample set"), extractor.checked(reference, "reference")
    if x.shape[1:] != y.shape[1:]:
        raise UserError(
            f"samples and reference have the shapes {x.shape} and {y.shape}: bring both to one size"
        )
    if extractor.images:
        check_alike(x, y)


def shrinks(shape: tuple[int, ...], extractor: Extractor) -> bool:
    """Whether images `(N, C, H, W)` are larger than the network's input."""
    return extractor.side > 0 and max(shape[2:]) > extractor.side


def shrunk(x: NDArray[Any], extractor: Extractor) -> NDArray[Any]:
    """Return images `(N, C, H, W)` at the size of the network's input where they are larger, as they are otherwise."""
    if not shrinks(x.shape, extractor):
        return x
    import torch
    from torch.nn.functional import interpolate

    size = (extractor.side, extractor.side)
    parts = [
        interpolate(part.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
        for part in torch.from_numpy(x).split(BATCH)
    ]
    levels: NDArray[Any] = torch.cat(parts).round().clamp(0, WHITE).to(torch.uint8).numpy()
    return levels


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
        with np.load(io.BytesIO(place.read_bytes())) as layers:
            return layers["features"], layers["logits"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        with suppress(OSError):
            place.unlink()
        return None
