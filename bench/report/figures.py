"""Figures of an experiment: those it declares, else its recorded curves."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.experiment import TIERS, Experiment
from bench.record import Record
from bench.registry import resolve
from bench.report import style
from bench.report.measured import changed, in_order
from bench.text import told

CURVES = "bench.report.figures:curves"


@dataclass(frozen=True)
class Drawn:
    """A figure as files: name, caption, and the bytes of `svg` and `pdf`."""

    name: str
    caption: str
    files: dict[str, bytes]


def draw_all(experiment: Experiment, records: Sequence[Record], bad: list[str]) -> Iterator[Drawn]:
    """Yield the figures of the finished runs of the highest tier, nothing overridden; a function may return None.

    One that cannot be drawn of these records is left out, and a line in `bad` says so.
    """
    done = [r for r in in_order(experiment, records) if r.status == "done" and not changed(experiment, r)]
    if not done:
        return
    tier = max((r.identity.tier for r in done), key=TIERS.index)
    chosen = [_literal(r) for r in done if r.identity.tier == tier]
    seeds = ", ".join(str(s) for s in sorted({r.identity.seed for r in chosen}))
    for name, reference in (experiment.figures or {"curves": CURVES}).items():
        try:
            function = resolve(reference)
            with style.context():
                figure = function(chosen)
            rendered = None if figure is None else style.render(figure)
        except Exception as error:  # of a paper's own code, on records that it was not made for
            bad.append(f"figure {experiment.name}.{name} cannot be drawn of these records: {told(error)}")
            continue
        if rendered is not None:
            shown = (inspect.getdoc(function) or name).splitlines()[0].rstrip(".")
            caption = experiment.caption(tier, f"{experiment.title}. {shown}. Tier {tier}, seeds {seeds}.")
            yield Drawn(f"{experiment.name}.{name}", caption, rendered)


def _literal(record: Record) -> Record:
    """Return a record whose labels of axes are shown as they are."""
    drawn = {
        key: dataclasses.replace(
            curve, x_label=style.literal(curve.x_label), y_label=style.literal(curve.y_label)
        )
        for key, curve in record.curves.items()
    }
    return dataclasses.replace(record, curves=drawn)


def curves(records: Sequence[Record]) -> Any:
    """Every recorded curve: the mean over seeds thick, each seed thin."""
    keys = list(dict.fromkeys(key for record in records for key in record.curves))
    if not keys:
        return None
    cols = 2 if len(keys) == 4 else min(3, len(keys))
    rows = -(-len(keys) // cols)
    figure, panels = style.new_figure(rows, cols, squeeze=False)
    variants = list(dict.fromkeys(r.identity.variant for r in records))
    for key, ax in zip(keys, panels.flat, strict=False):
        _panel(ax, key, variants, records)
    for ax in list(panels.flat)[len(keys) :]:
        ax.set_visible(False)
    handles = {
        label: h for ax in figure.axes for h, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles)))
    return figure


def _panel(ax: Any, key: str, variants: Sequence[str], records: Sequence[Record]) -> None:
    import numpy as np

    shown = []
    for place, variant in enumerate(variants):
        series = [r.curves[key] for r in records if r.identity.variant == variant and key in r.curves]
        if not series:
            continue
        look = {"color": style.COLOURS[place % 8], "linestyle": style.LINES[place // 8 % 4]}
        for curve in series:
            ax.plot(curve.x, curve.y, linewidth=0.5, alpha=0.6, **look)
        # Seeds that stopped at different x have no common mean; their thin lines then stand alone.
        alike = all(curve.x == series[0].x for curve in series)
        mean = np.mean([c.y for c in series], axis=0) if alike else np.full(len(series[0].x), np.nan)
        ax.plot(series[0].x, mean, label=variant, **look)
        shown += [y for curve in series for y in curve.y]
        ax.set(xlabel=series[0].x_label, ylabel=series[0].y_label)
    ax.set_title(style.literal(key))
    finite = [y for y in shown if np.isfinite(y)]
    if finite and min(finite) > 0 and max(finite) > 100 * min(finite):
        ax.set_yscale("log")
