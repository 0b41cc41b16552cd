"""Figures of OT-Flow on digits, drawn from records alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, new_figure
from replications.tasks.figures import first_seeds, mosaic

Draw = Callable[[Any, Record], None]


def samples(records: Sequence[Record]) -> Any | None:
    """Samples of the flow, decoded, one seed of each variant."""
    return _panels(records, "samples", _samples)


def reconstructions(records: Sequence[Record]) -> Any | None:
    """The first test images (above) and what the autoencoder makes of them (below), one seed."""
    return _panels(records, "reconstructions", _reconstructions, width=3.4, height=1.2)


def interpolation(records: Sequence[Record]) -> Any | None:
    """Between four test images (framed), bilinear between their points in the flow's base, decoded; one seed."""
    return _panels(records, "interpolation", _interpolation, width=2.6, height=2.9)


def _panels(
    records: Sequence[Record], key: str, draw: Draw, width: float = 1.9, height: float = 2.1
) -> Any | None:
    """Return a panel for each variant that holds a curve of the key, side by side."""
    chosen = first_seeds(records, key)
    if not chosen:
        return None
    figure, axes = new_figure(1, len(chosen), width=width, height=height, squeeze=False)
    for ax, (variant, record) in zip(axes[0], chosen.items(), strict=True):
        draw(ax, record)
        ax.set_title(variant.replace("_", " "))
        ax.set_axis_off()
    return figure


def _show(ax: Any, picture: Any) -> None:
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def _samples(ax: Any, record: Record) -> None:
    drawn = record.array("samples")
    _show(ax, mosaic(drawn, round(len(drawn) ** 0.5)))


def _reconstructions(ax: Any, record: Record) -> None:
    import numpy as np

    rows = [record.array(key) for key in ("originals", "reconstructions")]
    _show(ax, mosaic(np.concatenate(rows), len(rows[0])))


def _interpolation(ax: Any, record: Record) -> None:
    from matplotlib.patches import Rectangle

    pictures = record.array("interpolation")
    n, h, w = pictures.shape
    side = round(n**0.5)
    _show(ax, mosaic(pictures, side))
    for x in (0, (side - 1) * w):
        for y in (0, (side - 1) * h):
            ax.add_patch(Rectangle((x - 0.5, y - 0.5), w, h, fill=False, edgecolor=COLOURS[1], linewidth=1.2))
