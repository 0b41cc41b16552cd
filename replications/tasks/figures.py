"""Figures of trained flows, drawn from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, LINES, grid, new_figure


def first_seeds(records: Sequence[Record], key: str) -> dict[str, Record]:
    """Return one record a variant that holds a curve or an array, of the lowest seed; in the records' order."""
    chosen: dict[str, Record] = {}
    for record in records:
        if key in record.curves or key in record.artifacts:
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
    reach = record.identity.config["reach"]
    ax.imshow(
        record.array("density").T, origin="lower", extent=(-reach, reach, -reach, reach), cmap="magma", vmin=0
    )
    ax.scatter(*record.array("samples").T, s=0.4, color="white", alpha=0.5, linewidths=0)
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


def mosaic(pictures: Any, columns: int) -> Any:
    """Return pictures `(n, [C,] H, W)` of values 0..255 as a single one, values 0..1, row by row.

    It is `(rows H, columns W, C)`, without the last axis where there are no channels.
    """
    n, *channels, h, w = pictures.shape
    c = channels[0] if channels else 1
    tiles = pictures.reshape(n // columns, columns, c, h, w).transpose(0, 3, 1, 4, 2)
    whole = tiles.reshape(n // columns * h, columns * w, c) / 255
    return whole if channels else whole[..., 0]
