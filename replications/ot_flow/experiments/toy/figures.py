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
    figure, axes = grid(len(chosen), width=1.7, height=1.9, sharex=True, sharey=True)
    for ax, (variant, record) in zip(axes, chosen.items(), strict=False):
        times = record.identity.config["path_times"]
        for path in record.array("paths").reshape(-1, times, 2):
            one = path.T
            ax.plot(*one, color=COLOURS[0], linewidth=0.6)
            ax.plot(*one[:, 0], ".", color=COLOURS[1], markersize=2)
            ax.plot(*one[:, -1], "x", color=COLOURS[2], markersize=2)
        ax.set_title(variant, fontsize=7)
        ax.set(xlim=(-5, 5), ylim=(-5, 5), aspect="equal")
    return figure
