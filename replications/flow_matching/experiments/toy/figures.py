"""Figures of Flow Matching on points, drawn from records alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, grid, legend_below, new_figure
from replications.tasks.figures import first_seeds

METHODS = ("fm-ot", "fm-vp", "i-cfm", "ot-cfm", "sb-cfm", "cnf")
"""In the order of their colours."""


def samples(records: Sequence[Record]) -> Any | None:
    """Samples by dopri5, one seed."""
    return _panels(first_seeds(records, "samples"), lambda ax, record: _dots(ax, record.array("samples")))


def paths(records: Sequence[Record]) -> Any | None:
    """Paths of some points from the source (dots) to the data (crosses), one seed."""
    return _panels(first_seeds(records, "paths"), _draw_paths)


def few_steps(records: Sequence[Record]) -> Any | None:
    """Samples by the midpoint rule, one row a variant, one column a number of evaluations, one seed."""
    chosen = {
        variant: record
        for variant, record in first_seeds(records, "samples").items()
        if record.identity.config["midpoint_steps"]
    }
    if not chosen:
        return None
    steps = sorted({n for record in chosen.values() for n in record.identity.config["midpoint_steps"]})
    figure, axes = new_figure(
        len(chosen), len(steps), width=1.7, height=1.9, squeeze=False, sharex=True, sharey=True
    )
    for row, (variant, record) in zip(axes, chosen.items(), strict=True):
        for ax, n in zip(row, steps, strict=True):
            if f"samples midpoint-{n}" in record.artifacts:
                _dots(ax, record.array(f"samples midpoint-{n}"))
            ax.set_title(f"{variant}, NFE {2 * n}", fontsize=6)
    return figure


def w2_against_nfe(records: Sequence[Record]) -> Any | None:
    """W2 of samples by few steps of Euler, every seed, a panel a pair of laws; dotted: between two samples of data."""
    groups = _by_laws(records, "w2_against_nfe")
    if not groups:
        return None
    figure, axes = grid(len(groups), width=2.4, height=2.2)
    for ax, (laws, members) in zip(axes, groups.items(), strict=False):
        for record in members:
            curve = record.curves["w2_against_nfe"]
            ax.plot(curve.x, curve.y, linewidth=0.8, **_look(record))
        floor = [record.metrics["wasserstein2[data against data]"].value for record in members]
        ax.axhline(sum(floor) / len(floor), color="black", linestyle=":", linewidth=0.8)
        ax.set(xscale="log", yscale="log", xlabel="NFE, Euler", ylabel="$W_2$")
        ax.set_title(laws, fontsize=7)
    legend_below(figure, axes[: len(groups)])
    return figure


def training(records: Sequence[Record]) -> Any | None:
    """Loss over training, one seed, one panel a pair of laws."""
    groups = _by_laws(list(first_seeds(records, "loss").values()), "loss")
    if not groups:
        return None
    figure, axes = grid(len(groups), width=2.4, height=2.2)
    for ax, (laws, members) in zip(axes, groups.items(), strict=False):
        for record in members:
            ax.plot(record.curves["loss"].x, record.curves["loss"].y, linewidth=0.8, **_look(record))
        ax.set(yscale="log", xlabel="iteration", ylabel=members[0].curves["loss"].y_label)
        ax.set_title(laws, fontsize=7)
    legend_below(figure, axes[: len(groups)])
    return figure


def _panels(chosen: dict[str, Record], draw: Callable[[Any, Record], None]) -> Any | None:
    """Return a figure with one panel a variant."""
    if not chosen:
        return None
    figure, axes = grid(len(chosen), width=1.7, height=1.9)
    for ax, (variant, record) in zip(axes, chosen.items(), strict=False):
        draw(ax, record)
        ax.set(aspect="equal")
        ax.set_title(variant, fontsize=6)
    return figure


def _dots(ax: Any, points: Any) -> None:
    ax.scatter(*points.T, s=0.6, color=COLOURS[0], linewidths=0)
    ax.set(aspect="equal")


def _draw_paths(ax: Any, record: Record) -> None:
    ends = record.array("path ends")
    for one in record.array("paths").reshape(len(ends), -1, 2):
        ax.plot(*one.T, color=COLOURS[0], linewidth=0.6)
        ax.plot(*one[0], ".", color=COLOURS[1], markersize=2)
    ax.plot(*ends.T, "x", color=COLOURS[2], markersize=2)


def _by_laws(records: Iterable[Record], curve: str) -> dict[str, list[Record]]:
    """Return the records that hold a curve by source, data and network; in their order."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if curve in record.curves:
            config = record.identity.config
            wide = ", wide" if max(config["hidden"]) > 64 else ""
            groups.setdefault(f"{config['source']} to {config['data']}{wide}", []).append(record)
    return groups


def _look(record: Record) -> dict[str, Any]:
    method = record.identity.config["method"]
    return {"color": COLOURS[METHODS.index(method)], "label": method}
