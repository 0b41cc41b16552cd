"""The feature extractors: which samples each takes, what it gives, and where its weights are.

| name                  | takes                  | features            | classes of the IS                    |
|-----------------------|------------------------|---------------------|--------------------------------------|
| `inception-v3-compat` | uint8 `(N, 3, H, W)`   | 2048, torch-fidelity's | 1008                              |
| `mnist-cnn-v1`        | uint8 `(N, 1, H, W)`   | 64, see `mnist_cnn` | 10                                   |
| `points-v1`           | float `(N, 2)`         | 64, see `points`    | 2, the arcs of `toy2d.moons`         |

A name stands for one recipe for ever: what changes the features takes another name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.data import registry
from bench.errors import UserError
from bench.metrics.fidelity.levels import check_scale
from bench.metrics.fidelity.library import LAYERS, as_extractor, library

if TYPE_CHECKING:
    from torch import Tensor


def no_weights() -> None:
    """Say that an extractor has no weights."""


@dataclass(frozen=True)
class Extractor:
    """A feature extractor, registered with torch-fidelity under its name when it is first used.

    Args:
        name: part of every protocol id.
        shape: of one sample; None is any size.
        side: pixels a side that the network resizes images to; larger ones are shrunk before, see `features`.
        dtype: `uint8` or `float64`; the rounding that the protocol id names.
        network: makes the network from the file of its weights; None where torch-fidelity brings its own.
        weights: returns the file of the weights, its content checked; None where there is none.
        layers: names of the layer for FID, KID, precision and recall, and of that for IS.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    network: Callable[[Path | None], Any] | None
    weights: Callable[[], Path | None] = no_weights
    layers: tuple[str, str] = LAYERS
    side: int = 0

    @property
    def images(self) -> bool:
        """Whether it takes images, as levels 0..255."""
        return self.dtype == "uint8"

    def checked(self, samples: NDArray[Any] | Tensor, what: str) -> NDArray[Any]:
        """Return samples as the array that the extractor takes, contiguous; float32 points become float64.

        Raises:
            UserError: wrong dtype or shape, no samples, a value that is not finite, or images on another scale than
                0..255, see `levels`.
        """
        x = np.asarray(samples if isinstance(samples, np.ndarray) else samples.detach().cpu())
        if x.dtype.name not in (("uint8",) if self.images else ("float32", "float64")):
            mend = (
                "turn it into levels by to_uint8, with its black and white" if self.images else "give float64"
            )
            raise UserError(f"{self.name} takes {self.dtype}, but the {what} is {x.dtype.name}: {mend}")
        if x.ndim != 1 + len(self.shape) or any(e not in (None, n) for e, n in zip(self.shape, x.shape[1:])):
            axes = ", ".join(["N"] + ["any" if extent is None else str(extent) for extent in self.shape])
            raise UserError(f"{self.name} takes ({axes}), but the {what} is {x.shape}: {self._mend(x.shape)}")
        if x.size == 0:
            raise UserError(f"the {what} is empty, its shape is {x.shape}: give samples")
        if self.images:
            check_scale(x, what)
        elif not np.isfinite(x).all():
            raise UserError(
                f"the {what} has values that are not finite: score only draws that did not diverge"
            )
        return np.ascontiguousarray(x, dtype=self.dtype)

    def _mend(self, shape: tuple[int, ...]) -> str:
        """Return how a set of another shape becomes one that the extractor takes."""
        if not self.images:
            return "give one row a point"
        channels = self.shape[0]
        if len(shape) == 4 and shape[3] == channels:
            return "its channels are the last axis, so move them by permute(0, 3, 1, 2)"
        if len(shape) == 4:
            return f"give {channels} channels, or take an extractor for {shape[1]}"
        return "give the axes image, channel, row, column"

    def register(self) -> None:
        """Make torch-fidelity know this extractor by its name.

        Raises:
            UserError: torch-fidelity is not installed.
        """
        known = library("registry")
        if self.network is not None and self.name not in known.FEATURE_EXTRACTORS_REGISTRY:
            known.register_feature_extractor(self.name, as_extractor(self.network))


def get(name: str) -> Extractor:
    """Return the extractor of that name.

    Raises:
        UserError: there is none; names the close matches.
    """
    if name in EXTRACTORS:
        return EXTRACTORS[name]
    close = difflib.get_close_matches(name, EXTRACTORS) or list(EXTRACTORS)
    raise UserError(f"no feature extractor is called {name!r}: did you mean {' or '.join(close)}?")


def _inception_weights() -> Path:
    (path,) = registry.get("inception-v3-compat").require().values()
    return path


def _mnist_network(weights: Path | None) -> Any:
    from bench.metrics.fidelity import mnist_cnn

    return mnist_cnn.load(weights or _mnist_weights())


def _mnist_weights() -> Path:
    from bench.metrics.fidelity import mnist_cnn

    return mnist_cnn.shipped()


def _points_network(weights: Path | None) -> Any:
    from bench.metrics.fidelity import points

    return points.PointFeatures()


EXTRACTORS: dict[str, Extractor] = {
    extractor.name: extractor
    for extractor in (
        Extractor(
            "inception-v3-compat",
            (3, None, None),
            "uint8",
            None,
            _inception_weights,
            ("2048", "logits_unbiased"),
            side=299,
        ),
        Extractor("mnist-cnn-v1", (1, None, None), "uint8", _mnist_network, _mnist_weights, side=28),
        Extractor("points-v1", (2,), "float64", _points_network),
    )
}
"""Every extractor by name."""
