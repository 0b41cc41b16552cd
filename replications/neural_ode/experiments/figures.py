"""Figures of the Neural ODE experiments, drawn from records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, new_figure


def _first_seed(records: Sequence[Record], curve: str) -> list[Record]:
    """Return one record a variant, the lowest seed that holds a curve."""
    chosen: dict[str, Record] = {}
    for record in sorted(records, key=lambda r: r.identity.seed):
        if curve in record.curves:
            chosen.setdefault(record.identity.variant, record)
    return list(chosen.values())


def _colours(records: Sequence[Record]) -> dict[str, str]:
    """Return one colour a variant, for all panels of a figure."""
    return dict(zip(sorted({r.identity.variant for r in records}), cycle(COLOURS), strict=False))


def _lines(
    ax: Any,
    records: Sequence[Record],
    curve: str,
    colours: Mapping[str, str],
    scale: float = 1.0,
    **style: Any,
) -> None:
    """Draw one curve of each record in its variant's colour."""
    for record in records:
        variant, drawn = record.identity.variant, record.curves[curve]
        ax.plot(drawn.x, [y * scale for y in drawn.y], color=colours[variant], label=variant, **style)


def training(records: Sequence[Record]) -> Any | None:
    """Loss, and evaluations of the field in the forward and the backward pass, over training."""
    trained, counter = _first_seed(records, "loss"), _first_seed(records, "nfe_forward")
    if not counter:
        return None
    figure, axes = new_figure(1, 3)
    colours = _colours(records)
    panels = (trained, "loss"), (counter, "nfe_forward"), (counter, "nfe_backward")
    for ax, (chosen, curve) in zip(axes, panels, strict=True):
        _lines(ax, chosen, curve, colours)
        ax.set(xlabel="iteration", ylabel=curve.replace("_", " ").replace("nfe", "NFE"))
        ax.legend()
    return figure


def cost_of_steps(records: Sequence[Record]) -> Any | None:
    """Peak memory and time of a forward and backward pass against solver steps or layers."""
    chosen = _first_seed(records, "memory/depth")
    if not chosen:
        return None
    figure, (memory, time) = new_figure(1, 2)
    colours = _colours(records)
    _lines(memory, chosen, "memory/depth", colours, 2**-20, marker="o")
    _lines(time, chosen, "time/depth", colours, marker="o")
    for ax, label in ((memory, "peak memory (MiB)"), (time, "forward + backward (s)")):
        ax.set(xscale="log", yscale="log", xlabel="solver steps or layers", ylabel=label)
        ax.legend()
    return figure


def tolerance(records: Sequence[Record]) -> Any | None:
    """Error against tolerance, forward time against evaluations, backward against forward evaluations."""
    chosen = _first_seed(records, "error/tolerance")
    if not chosen:
        return None
    figure, (error, time, nfe) = new_figure(1, 3)
    colours = _colours(records)
    _lines(error, chosen[:1], "error/tolerance", colours, marker="o")
    error.set(xscale="log", yscale="log", xlabel="tolerance", ylabel="relative error of h(1)")
    _lines(time, chosen[:1], "time/nfe", colours, marker="o")
    time.set(xlabel="NFE forward", ylabel="forward time (s)", xlim=(0, None), ylim=(0, None))
    for record in chosen:
        variant = record.identity.variant
        forward, backward = (record.curves[f"nfe_{way}/tolerance"].y for way in ("forward", "backward"))
        nfe.plot(forward, backward, color=colours[variant], marker="o", label=variant)
    nfe.set(xlabel="NFE forward", ylabel="NFE backward")
    nfe.legend()
    return figure
