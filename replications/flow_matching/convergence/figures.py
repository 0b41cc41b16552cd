"""Figures of trainings until a goal, drawn from records alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, LINES, legend_below, new_figure
from replications.tasks.figures import first_seeds

PANELS = (("wasserstein2", ""), ("wasserstein2", " seconds"), ("kl", ""), ("kl", " seconds"))


def convergence(records: Sequence[Record]) -> Any | None:
    """W2 and KL over iterations and over seconds of training, every seed, one row a set; dotted: the goal."""
    sets = _by_data(records, "kl")
    if not sets:
        return None
    figure, axes = new_figure(len(sets), 4, width=2.3, height=2.4, squeeze=False)
    for row, (data, members) in zip(axes, sets.items(), strict=True):
        for ax, (name, clock) in zip(row, PANELS, strict=True):
            for record, look in zip(members, _looks(members), strict=True):
                curve = record.curves[name + clock]
                ax.plot(curve.x, curve.y, linewidth=0.9, **look)
                ax.set(xlabel=curve.x_label, ylabel=curve.y_label)
            goals = [_goal(record, name) for record in members]
            ax.axhline(sum(goals) / len(goals), color="black", linestyle=":", linewidth=0.8)
            ax.set(xscale="log", yscale="log")
            ax.set_title(data, fontsize=7)
    legend_below(figure, axes.flat)
    return figure


def samples(records: Sequence[Record]) -> Any | None:
    """Data and samples of every method by dopri5, one seed, one row a set."""
    sets = _by_data(first_seeds(records, "samples").values(), "samples")
    if not sets:
        return None
    cols = 1 + max(len(members) for members in sets.values())
    figure, axes = new_figure(len(sets), cols, width=1.7, height=1.9, squeeze=False)
    for row, members in zip(axes, sets.values(), strict=True):
        panels = [("data", members[0].array("data"))]
        panels += [(record.identity.variant, record.array("samples")) for record in members]
        for ax, (title, points) in zip(row, panels, strict=False):
            ax.scatter(*points.T, s=0.8, color=COLOURS[0], linewidths=0)
            ax.set(aspect="equal", xlim=(-4.2, 4.2), ylim=(-4.2, 4.2))
            ax.set_title(title, fontsize=7)
        for ax in row[len(panels) :]:
            ax.set_visible(False)
    return figure


def few_steps(records: Sequence[Record]) -> Any | None:
    """W2 against evaluations, by Euler and by the midpoint rule, every seed; dotted: between two sets of data."""
    sets = _by_data(records, "w2_against_nfe euler")
    if not sets:
        return None
    figure, axes = new_figure(len(sets), 2, width=3.0, height=2.4, squeeze=False)
    for row, (data, members) in zip(axes, sets.items(), strict=True):
        for ax, name in zip(row, ("euler", "midpoint"), strict=True):
            for record, look in zip(members, _looks(members), strict=True):
                curve = record.curves[f"w2_against_nfe {name}"]
                ax.plot(curve.x, curve.y, linewidth=0.9, **look)
                ax.set(xlabel=curve.x_label, ylabel="$W_2$")
            floor = [record.metrics["wasserstein2[data against data]"].value for record in members]
            ax.axhline(sum(floor) / len(floor), color="black", linestyle=":", linewidth=0.8)
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            ax.set_title(data, fontsize=7)
    legend_below(figure, axes.flat)
    return figure


def _goal(record: Record, name: str) -> float:
    config = record.identity.config
    if name == "kl":
        return float(config["kl_goal"])
    return float(config["w2_goal"]) * record.metrics["wasserstein2[validation data]"].value


def _by_data(records: Iterable[Record], key: str) -> dict[str, list[Record]]:
    """Return the records that hold a curve or an array by their set, in their order."""
    sets: dict[str, list[Record]] = {}
    for record in records:
        if key in record.curves or key in record.artifacts:
            sets.setdefault(record.identity.config["data"], []).append(record)
    return sets


def _looks(members: Sequence[Record]) -> list[dict[str, Any]]:
    """Return colour, line and name of each record; variants are told apart within a set."""
    names = [record.identity.variant.removeprefix(f"{record.identity.config['data']}_") for record in members]
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return [
        {"color": COLOURS[places[name]], "linestyle": LINES[places[name]], "label": name} for name in names
    ]
