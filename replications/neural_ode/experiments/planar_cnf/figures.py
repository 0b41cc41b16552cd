"""Figures of `neural_ode.planar_cnf`, drawn from records, the target densities from their formulas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data import energies2d, toy2d
from bench.record import Record
from bench.report.style import COLOURS, new_figure
from replications.neural_ode.experiments.planar_cnf.declaration import SHOWN_REACH, SHOWN_SIDE

LABELS = {"nf": "layers", "nf_shrunk": "layers, start shrunk", "cnf": "continuous"}
DRAWN = 500_000
"""Points of the histogram that shows a target which is a set of points."""


def densities(records: Sequence[Record]) -> Any | None:
    """Densities matched to three energies: the target, layers and continuous flows by size; first seed."""
    return _panels(r for r in records if r.identity.config["target"] in energies2d.names())


def likelihood(records: Sequence[Record]) -> Any | None:
    """Densities learned by maximum likelihood, 64 layers and 64 hidden units, beside the data's; first seed."""
    return _panels(r for r in records if r.identity.config["target"] not in energies2d.names())


def kl(records: Sequence[Record]) -> Any | None:
    """KL divergence of flow and target against layers or hidden units: every seed a dot, lines through the means."""
    matched = [r for r in records if "kl" in r.metrics]
    if not matched:
        return None
    targets = _distinct(r.identity.config["target"] for r in matched)
    figure, axes = new_figure(1, len(targets), squeeze=False)
    methods = _distinct(r.identity.config["method"] for r in matched)
    for ax, target in zip(axes[0], targets):
        for method, colour in zip(methods, cycle(COLOURS)):
            _against_size(ax, [r for r in matched if _is(r, target, method)], colour, LABELS[method])
        ax.set(title=target, xscale="log", yscale="log", xlabel="layers or hidden units", ylabel="KL (nats)")
        ax.set_xticks([2, 8, 32], ["2", "8", "32"])
        ax.minorticks_off()
    axes[0, 0].legend()
    return figure


def _against_size(ax: Any, records: Sequence[Record], colour: str, label: str) -> None:
    by_size: dict[int, list[float]] = {}
    for record in records:
        by_size.setdefault(record.identity.config["units"], []).append(record.metrics["kl"].value)
    sizes = sorted(by_size)
    ax.plot(sizes, [sum(by_size[s]) / len(by_size[s]) for s in sizes], color=colour, label=label)
    for size in sizes:
        ax.plot([size] * len(by_size[size]), by_size[size], ".", color=colour)


def _panels(records: Iterable[Record]) -> Any | None:
    """Return one row of pictures a target: the target, then each method and size in the records' order."""
    shown = [r for r in records if "density" in r.artifacts]
    if not shown:
        return None
    first = min(r.identity.seed for r in shown)
    shown = [r for r in shown if r.identity.seed == first]
    targets = _distinct(r.identity.config["target"] for r in shown)
    columns = _distinct((r.identity.config["method"], r.identity.config["units"]) for r in shown)
    figure, axes = new_figure(len(targets), 1 + len(columns), width=1.6, height=1.7, squeeze=False)
    for row, target in zip(axes, targets):
        _picture(row[0], target_density(target), target)
        for ax, (method, units) in zip(row[1:], columns):
            found = [r for r in shown if _is(r, target, method) and r.identity.config["units"] == units]
            if found:
                _picture(ax, found[0].array("density"), f"{LABELS[method]}, {units}")
            else:
                ax.set_axis_off()
    return figure


def _picture(ax: Any, density: NDArray[np.floating], title: str) -> None:
    """Draw a density `(SHOWN_SIDE, SHOWN_SIDE)`, first coordinate first, to the right."""
    ax.imshow(density.T, origin="lower", extent=(-SHOWN_REACH, SHOWN_REACH) * 2, cmap="viridis")
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=8)


def target_density(target: str) -> NDArray[np.floating]:
    """Return the density of a target on the records' picture, `(SHOWN_SIDE, SHOWN_SIDE)`, first coordinate first.

    Of an energy it is e^-U / Z at the middle of each cell, of a set of points its histogram.
    """
    edges = np.linspace(-SHOWN_REACH, SHOWN_REACH, SHOWN_SIDE + 1)
    if target in energies2d.names():
        middles = (edges[1:] + edges[:-1]) / 2
        grid = np.stack(np.meshgrid(middles, middles, indexing="ij"), axis=-1)
        density: NDArray[np.floating] = np.exp(
            -energies2d.energy(target, grid) - energies2d.log_partition(target)
        )
        return density
    points = toy2d.draw(target, DRAWN, np.random.default_rng(0))
    counts = np.histogram2d(points[:, 0], points[:, 1], bins=(edges, edges))[0]
    return counts / DRAWN / (edges[1] - edges[0]) ** 2


def _is(record: Record, target: str, method: str) -> bool:
    return record.identity.config["target"] == target and record.identity.config["method"] == method


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
