"""Figures of the suite, drawn from records alone; every method has a marker and a dash of its own, besides a colour."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bench.record import Record
from bench.report.style import COLOURS, LINES, legend_below, new_figure
from replications.suite import rows
from replications.suite.settings import METHODS

MARKERS = "osDv^<>Pphd"
SOLVERS = ("euler", "midpoint", "rk4", "dopri5")
LEAST = 1e-7
"""Errors of an NLL below this are rounding, and are drawn there."""


def pareto(records: Sequence[Record]) -> Any | None:
    """Excess of the NLL over the best method's against what a method costs: means over data sets and seeds."""
    chosen = rows.by_time(records)
    quality = _excess(rows.values(chosen, "nll"))
    costs = {
        "evaluations to sample": "nfe[sampling]",
        "memory of a training step (MiB)": "peak_memory",
        "training iterations in the budget": "iterations",
    }
    if len(quality) < 2:
        return None
    figure, axes = new_figure(1, len(costs), width=2.6, height=2.6, sharey=True)
    for ax, (label, key) in zip(axes, costs.items(), strict=True):
        cost = _means(rows.values(chosen, key))
        for method in (m for m in quality if m in cost):
            scale = 2.0**20 if key == "peak_memory" else 1.0
            look = _look(method, list(quality))
            ax.plot(
                cost[method] / scale,
                max(quality[method], 1e-3),
                linestyle="",
                label=rows.name(method),
                **look,
            )
        ax.set(yscale="log", xlabel=label)
        _by_twos(ax)
    axes[0].set_ylabel("NLL above\nthe best (nats)")
    legend_below(figure, axes)
    return figure


def work_precision(records: Sequence[Record]) -> Any | None:
    """Error of the NLL by the solver of a test against its evaluations, trained fields frozen; mean over seeds."""
    chosen = [
        r for r in rows.by_time(records) if any(f"nll_error[{solver}]" in r.curves for solver in SOLVERS)
    ]
    if not chosen:
        return None
    data = rows.of(chosen[0])[0]
    members: dict[str, list[Record]] = {method: [] for method in METHODS}
    for record in chosen:
        if rows.of(record)[0] == data:
            members.setdefault(rows.of(record)[1], []).append(record)
    members = {method: own for method, own in members.items() if own}
    figure, axes = new_figure(1, len(SOLVERS), width=2.2, height=2.5, sharey=True)
    for ax, solver in zip(axes, SOLVERS, strict=True):
        for method, own in members.items():
            x, y = _curve(own, f"nll_error[{solver}]")
            ax.plot(x, y, label=rows.name(method), linewidth=0.9, **_look(method, list(members), lines=True))
        ax.set(yscale="log", xlabel="evaluations", title=solver)
        _by_twos(ax)
    axes[0].set_ylabel("error of the NLL (nats)")
    figure.suptitle(data, fontsize=9)
    legend_below(figure, axes)
    return figure


def _by_twos(ax: Any) -> None:
    """Give an axis of counts a logarithmic scale whose few ticks are written as numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(LogLocator(base=2, numticks=6))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _look(method: str, methods: Sequence[str], lines: bool = False) -> dict[str, Any]:
    place = list(methods).index(method)
    style = {"linestyle": LINES[place % len(LINES)]} if lines else {}
    return {
        "marker": MARKERS[place % len(MARKERS)],
        "color": COLOURS[place % len(COLOURS)],
        "markersize": 4,
        **style,
    }


def _excess(values: Mapping[str, Mapping[str, Mapping[int, float]]]) -> dict[str, float]:
    """Return the mean over data sets of how far a method's mean is above the lowest; methods on all of them."""
    means = {
        data: {m: float(np.mean(list(v.values()))) for m, v in rows.ranked(by).items()}
        for data, by in values.items()
    }
    best = {data: min(by.values()) for data, by in means.items() if by}
    return {
        method: float(np.mean([means[data][method] - best[data] for data in best]))
        for method in _on_all(means)
        if np.isfinite([means[data][method] for data in best]).all()
    }


def _means(values: Mapping[str, Mapping[str, Mapping[int, float]]]) -> dict[str, float]:
    means = {
        data: {m: float(np.mean(list(v.values()))) for m, v in by.items()} for data, by in values.items()
    }
    return {m: float(np.mean([by[m] for by in means.values()])) for m in _on_all(means)}


def _over_seeds(values: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    return {method: float(np.mean(list(by_seed.values()))) for method, by_seed in values.items()}


def _on_all(means: Mapping[str, Mapping[str, float]]) -> list[str]:
    names = dict.fromkeys(itertools.chain.from_iterable(means.values()))
    return [name for name in names if all(name in by for by in means.values())]


def _curve(records: Iterable[Record], key: str) -> tuple[list[float], list[float]]:
    """Return evaluations and geometric mean of the error over seeds, as far up the ladder as all seeds go."""
    curves = [r.curves[key] for r in records if key in r.curves]
    n = min((len(curve.x) for curve in curves), default=0)
    x = [float(np.mean([curve.x[i] for curve in curves])) for i in range(n)]
    y = [float(np.exp(np.mean([np.log(max(curve.y[i], LEAST)) for curve in curves]))) for i in range(n)]
    return x, y
