"""Figure of `lecture.mnist`, drawn from records alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, new_figure
from replications.lecture.plots import chosen, unique


def training(records: Iterable[Record]) -> Any:
    """Loss, accuracy and function evaluations of the classifier by epoch, every seed, one row a data set."""
    found = chosen(records)
    variants = sorted({r.identity.variant for r in found}, reverse=True)
    if not variants:
        return None
    figure, axes = new_figure(len(variants), 3, squeeze=False)
    for row, variant in zip(axes, variants, strict=True):
        for record in (r for r in found if r.identity.variant == variant):
            _training_row(row, record)
        row[0].set_title(variant)
        for ax in row[1:]:
            ax.legend(*unique(ax))
    return figure


def _training_row(row: Any, record: Record) -> None:
    parts = (
        (0, "train_loss", COLOURS[0], "training loss"),
        (1, "train_accuracy", COLOURS[0], "training"),
        (1, "test_accuracy", COLOURS[1], "test"),
        (2, "nfe_forward", COLOURS[0], "forward"),
        (2, "nfe_backward", COLOURS[1], "backward"),
    )
    for panel, key, colour, label in parts:
        if curve := record.curves.get(key):
            row[panel].plot(curve.x, curve.y, color=colour, marker=".", linewidth=1, label=label)
            row[panel].set(xlabel=curve.x_label, ylabel=curve.y_label)
    row[0].set_yscale("log")
