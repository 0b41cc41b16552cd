"""The figures of Experiment 2, drawn from records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, new_figure
from replications.tasks.figures import first_seeds, panel

LINES = 40
FRAMES = (0.0, 1 / 3, 2 / 3, 1.0)


def samples(records: Sequence[Record]) -> Any | None:
    """The data, samples of the flow, its density with samples, and paths from the base to the data."""
    chosen = list(first_seeds(records, "paths").values())[:1]
    if not chosen:
        return None
    (record,) = chosen
    figure, (data, ours, density, paths) = new_figure(1, 4, width=2.2, height=2.5)
    for ax, name, title in ((data, "data", "data"), (ours, "samples", "samples")):
        ax.scatter(*record.array(name).T, s=1.5, color=COLOURS[0], linewidths=0)
        ax.set_title(title)
    panel(density, record)
    density.set_title("density")
    x, y = _paths(record)
    paths.plot(x[:, :LINES], y[:, :LINES], color=COLOURS[1], linewidth=0.5)
    paths.scatter(x[0, :LINES], y[0, :LINES], s=4, color="black", label="base", zorder=3)
    paths.scatter(x[-1, :LINES], y[-1, :LINES], s=4, color=COLOURS[0], label="data", zorder=3)
    paths.set_title("paths")
    paths.legend(loc="lower left")
    for ax in (data, ours, density, paths):
        ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
    return figure


def transport(records: Sequence[Record]) -> Any | None:
    """Points on their way from the base (left) to the crescent (right)."""
    chosen = list(first_seeds(records, "paths").values())[:1]
    if not chosen:
        return None
    x, y = _paths(chosen[0])
    figure, axes = new_figure(1, len(FRAMES), width=2.2, height=2.5, sharey=True)
    for ax, share in zip(axes, FRAMES, strict=True):
        at = round(share * (len(x) - 1))
        ax.scatter(x[at], y[at], s=2, color=COLOURS[0], linewidths=0)
        ax.set(title=f"{share:.0%} of the way", xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
    return figure


def _paths(record: Record) -> tuple[Any, Any]:
    """Return the coordinates of all paths, `(times, paths)` each."""
    from replications.blog.experiments.crescent.run import PATHS

    paths = record.array("paths").reshape(-1, PATHS, 2)
    return paths[..., 0], paths[..., 1]
