"""Figures of `blog.spiral`, drawn from records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, LINES, new_figure
from replications.blog.plots import legend, of_variant, plot


def _spirals(records: Sequence[Record]) -> list[tuple[str, list[Record]]]:
    pairs = [(variant, of_variant(records, variant)) for variant in ("adjoint", "checkpoint")]
    return [(variant, found) for variant, found in pairs if found]


def trajectories(records: Sequence[Record]) -> Any:
    """Return both coordinates against time, true and learned, a panel a variant, every seed."""
    spirals = _spirals(records)
    if not spirals:
        return None
    figure, axes = new_figure(1, len(spirals), height=3.0, squeeze=False, sharey=True)
    for ax, (variant, found) in zip(axes[0], spirals):
        for i, axis in enumerate("xy"):
            for k, record in enumerate(found):
                label = f"{axis}, learned" if k == 0 else None
                plot(ax, record.curves[f"trajectory[learned, {axis}]"], color=COLOURS[i], label=label)
            true = found[0].curves[f"trajectory[true, {axis}]"]
            plot(ax, true, color="black", linestyle="--", linewidth=0.9, label="true" if i == 0 else None)
        ax.set(title=f"{variant}, {len(found)} seeds", xlabel="t")
        legend(ax)
    return figure


def phase_portrait(records: Sequence[Record]) -> Any:
    """Return the learned and the true vector field with the trajectory, first seed of each variant."""
    spirals = _spirals(records)
    if not spirals:
        return None
    figure, axes = new_figure(1, len(spirals), height=3.4, squeeze=False, sharey=True)
    for ax, (variant, found) in zip(axes[0], spirals):
        curves = found[0].curves
        grid = found[0].array("grid")
        for name, colour, width in (("true", "#c8c8c8", 0.012), ("learned", COLOURS[0], 0.004)):
            field = found[0].array(f"field[{name}]")
            ax.quiver(*grid.T, *field.T, color=colour, angles="xy", width=width, scale=70, label=name)
        for name, look in (("true", "--"), ("learned", "-")):
            x, y = (curves[f"trajectory[{name}, {axis}]"].y for axis in "xy")
            ax.plot(x, y, look, color="black" if name == "true" else COLOURS[1], linewidth=1.2)
        ax.set(title=variant, xlabel="x", aspect="equal")
    axes[0, 0].set_ylabel("y")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def spiral_loss(records: Sequence[Record]) -> Any:
    """Return the training loss against the iteration, every seed."""
    spirals = _spirals(records)
    if not spirals:
        return None
    figure, ax = new_figure()
    for i, (variant, found) in enumerate(spirals):
        for k, record in enumerate(found):
            label = variant if k == 0 else None
            plot(ax, record.curves["loss"], color=COLOURS[i], linestyle=LINES[i], linewidth=0.9, label=label)
    ax.set(xlabel="iteration", ylabel="mean squared error", yscale="log")
    ax.legend()
    return figure
