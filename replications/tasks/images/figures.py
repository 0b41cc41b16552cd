"""Figures of flows trained on images, drawn from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import new_figure
from replications.tasks import figures


def samples(records: Sequence[Record]) -> Any | None:
    """Samples of the trained flows, one seed of each variant."""
    chosen = figures.first_seeds(records, "samples")
    if not chosen:
        return None
    figure, axes = new_figure(1, len(chosen), width=1.9, height=2.1, squeeze=False)
    for ax, (variant, record) in zip(axes[0], chosen.items(), strict=True):
        drawn = record.array("samples")
        picture = figures.mosaic(drawn, round(len(drawn) ** 0.5))
        ax.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.set_title(variant)
        ax.set_axis_off()
    return figure


def training(records: Sequence[Record]) -> Any | None:
    """Loss and evaluations, forward and backward, over training, the first seed of each variant."""
    figure = figures.training(records)
    if figure is not None:
        figure.axes[0].set_ylabel("loss (bits/dim)")
    return figure
