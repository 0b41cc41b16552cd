"""Figures of STEER's stiff equation, drawn from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, new_figure

OWN_TIMES = "_own_times"


def errors(records: Sequence[Record]) -> Any | None:
    """Error on the test interval over training, every seed: segments from t = 0 as published, at their own times."""
    drawn = _panels(records, "validation")
    if drawn is None:
        return None
    figure, axes = drawn
    for ax in axes:
        ax.set(yscale="log", xlabel="iteration")
    axes[0].set_ylabel("mean error on the test interval")
    _legend(figure)
    return figure


def solutions(records: Sequence[Record]) -> Any | None:
    """Learned solutions, every seed, and the true one: segments from t = 0 as published, at their own times."""
    drawn = _panels(records, "solution[learned]")
    if drawn is None:
        return None
    figure, axes = drawn
    true = next(r.curves["solution[true]"] for r in records if "solution[true]" in r.curves)
    for ax in axes:
        ax.plot(true.x, true.y, "--", color="black", label="true")
        ax.set(xlabel="t")
    axes[0].set_ylabel("y")
    _legend(figure)
    return figure


def _panels(records: Sequence[Record], key: str) -> tuple[Any, Any] | None:
    """Return figure and axes with a curve of every record: left from t = 0, right at their own times."""
    found = [r for r in records if key in r.curves]
    if not found:
        return None
    figure, axes = new_figure(1, 2, height=3.2)
    names = list(dict.fromkeys(r.identity.variant.removesuffix(OWN_TIMES) for r in found))
    for ax, title in zip(axes, ("all from t = 0", "own times"), strict=True):
        ax.set_title(title)
    for record in found:
        variant = record.identity.variant
        name, ax = variant.removesuffix(OWN_TIMES), axes[int(variant.endswith(OWN_TIMES))]
        label = None if name in ax.get_legend_handles_labels()[1] else name
        colour, curve = COLOURS[names.index(name) % 8], record.curves[key]
        ax.plot(curve.x, curve.y, color=colour, linewidth=0.8, label=label)
    return figure, axes


def _legend(figure: Any) -> None:
    """Put one legend for both panels below them."""
    handles = {
        label: h for ax in figure.axes for h, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
