"""Figure of `neural_ode.mnist`, drawn from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import new_figure
from replications.neural_ode.plots import colours, draw_lines, first_seed_records


def training(records: Sequence[Record]) -> Any | None:
    """Loss, and evaluations of the field in the forward and the backward pass, over training."""
    trained, counter = first_seed_records(records, "loss"), first_seed_records(records, "nfe_forward")
    if not counter:
        return None
    figure, axes = new_figure(1, 3)
    looks = colours(records)
    panels = (trained, "loss"), (counter, "nfe_forward"), (counter, "nfe_backward")
    for ax, (chosen, curve) in zip(axes, panels, strict=True):
        draw_lines(ax, chosen, curve, looks)
        ax.set(xlabel="iteration", ylabel=curve.replace("_", " ").replace("nfe", "NFE"))
        ax.legend()
    return figure
