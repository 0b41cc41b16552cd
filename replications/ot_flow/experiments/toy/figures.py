"""Figures of OT-Flow, drawn from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, grid
from replications.tasks.figures import first_seeds


def paths(records: Sequence[Record]) -> Any | None:
    """Paths of some data (dots) to the base (crosses), one seed; straight where the transport is optimal."""
    chosen = first_seeds(records, "paths")
    if not chosen:
        return None
    import numpy as np

    figure, axes = grid(len(chosen), width=1.7, height=1.9, sharex=True, sharey=True)
    for ax, (variant, record) in zip(axes, chosen.items(), strict=False):
        curve = record.curves["paths"]
        points = np.array([curve.x, curve.y])
        times = record.identity.config["path_times"]
        for one in np.split(points, points.shape[1] // times, axis=1):
            ax.plot(*one, color=COLOURS[0], linewidth=0.6)
            ax.plot(*one[:, 0], ".", color=COLOURS[1], markersize=2)
            ax.plot(*one[:, -1], "x", color=COLOURS[2], markersize=2)
        ax.set_title(variant, fontsize=7)
        ax.set(xlim=(-5, 5), ylim=(-5, 5), aspect="equal")
    return figure
