"""Figures of `blog.adjoint_memory`, drawn from records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, new_figure
from replications.blog.plots import of_variant

METHODS = ("backprop", "adjoint_fixed", "adjoint_adaptive", "checkpoint_fixed", "checkpoint_adaptive")


def memory_time(records: Sequence[Record]) -> Any:
    """Return bars of peak memory and of forward plus backward time by way, a row a data set; dots are the seeds."""
    groups = [
        g for p in ("", "digits_") if (g := {w: f for w in METHODS if (f := of_variant(records, p + w))})
    ]
    if not groups:
        return None
    figure, axes = new_figure(len(groups), 2, squeeze=False)
    panels = (
        ("peak_memory", 2.0**-20, "peak memory (MiB)"),
        ("forward_backward_time", 1e3, "forward + backward (ms)"),
    )
    for row, group in zip(axes, groups):
        data = next(iter(group.values()))[0].identity.config["data"]
        for ax, (metric, scale, label) in zip(row, panels):
            _bars(ax, group, metric, scale)
            ax.set(title=data, xlabel=label)
    return figure


def _bars(ax: Any, group: dict[str, list[Record]], metric: str, scale: float) -> None:
    for i, (method, found) in enumerate(group.items()):
        values = [scale * v for r in found if (v := r.value(metric)) is not None]
        if values:
            ax.barh(i, sum(values) / len(values), color=COLOURS[METHODS.index(method)], alpha=0.75)
            ax.plot(values, [i] * len(values), ".", color="black")
    ax.set_yticks(range(len(group)), [method.replace("_", ", ") for method in group])
    ax.invert_yaxis()
