"""Figures of trained flows, drawn from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, LINES, grid, new_figure


def first_seeds(records: Sequence[Record], curve: str) -> dict[str, Record]:
    """Return one record a variant that holds a curve, of the lowest seed; variants in the records' order."""
    chosen: dict[str, Record] = {}
    for record in records:
        if curve in record.curves:
            kept = chosen.setdefault(record.identity.variant, record)
            if record.identity.seed < kept.identity.seed:
                chosen[record.identity.variant] = record
    return chosen


def densities(records: Sequence[Record]) -> Any | None:
    """Learned densities on a grid, and samples of the flows (dots), one seed."""
    chosen = first_seeds(records, "density")
    if not chosen:
        return None
    figure, axes = grid(len(chosen), width=1.7, height=1.9, sharex=True, sharey=True)
    for ax, (variant, record) in zip(axes, chosen.items(), strict=False):
        panel(ax, record)
        ax.set_title(variant, fontsize=7)
    return figure


def panel(ax: Any, record: Record) -> None:
    """Draw one record's density and samples."""
    import numpy as np

    density, reach = record.curves["density"], record.identity.config["reach"]
    side = round(len(density.y) ** 0.5)
    image = np.array(density.y).reshape(side, side).T
    ax.imshow(image, origin="lower", extent=(-reach, reach, -reach, reach), cmap="magma", vmin=0)
    samples = record.curves["samples"]
    ax.scatter(samples.x, samples.y, s=0.4, color="white", alpha=0.5, linewidths=0)
    ax.grid(False)
    ax.set(xlim=(-5, 5), ylim=(-5, 5), aspect="equal")


def training(records: Sequence[Record]) -> Any | None:
    """Loss and evaluations, forward and backward, over training, the first seed of each variant."""
    chosen = first_seeds(records, "loss")
    if not chosen:
        return None
    figure, axes = new_figure(1, 3, height=3.2)
    for place, (variant, record) in enumerate(chosen.items()):
        look = {"color": COLOURS[place % 8], "linestyle": LINES[place // 8 % 4], "linewidth": 1.0}
        for ax, key in zip(axes, ("loss", "nfe_forward", "nfe_backward"), strict=True):
            if key in record.curves:
                ax.plot(record.curves[key].x, record.curves[key].y, label=variant, **look)
    for ax, label in zip(axes, ("loss (nats)", "NFE forward", "NFE backward"), strict=True):
        ax.set(xlabel="iteration", ylabel=label)
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=min(4, len(chosen)))
    return figure
