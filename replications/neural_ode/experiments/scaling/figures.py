"""Figures of `neural_ode.scaling`, drawn from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import new_figure
from replications.neural_ode.plots import colours, draw_lines, first_seed_records


def cost_of_steps(records: Sequence[Record]) -> Any | None:
    """Peak memory and time of a forward and backward pass against solver steps or layers."""
    chosen = first_seed_records(records, "memory/depth")
    if not chosen:
        return None
    figure, (memory, time) = new_figure(1, 2)
    looks = colours(records)
    draw_lines(memory, chosen, "memory/depth", looks, 2**-20, marker="o")
    draw_lines(time, chosen, "time/depth", looks, marker="o")
    for ax, label in ((memory, "peak memory (MiB)"), (time, "forward + backward (s)")):
        ax.set(xscale="log", yscale="log", xlabel="solver steps or layers", ylabel=label)
        ax.legend()
    return figure


def tolerance(records: Sequence[Record]) -> Any | None:
    """Error against tolerance, forward time against evaluations, backward against forward evaluations."""
    chosen = first_seed_records(records, "error/tolerance")
    if not chosen:
        return None
    figure, (error, time, nfe) = new_figure(1, 3)
    looks = colours(records)
    draw_lines(error, chosen[:1], "error/tolerance", looks, marker="o")
    error.set(xscale="log", yscale="log", xlabel="tolerance", ylabel="relative error of h(1)")
    draw_lines(time, chosen[:1], "time/nfe", looks, marker="o")
    time.set(xlabel="NFE forward", ylabel="forward time (s)", xlim=(0, None), ylim=(0, None))
    for record in chosen:
        variant = record.identity.variant
        forward, backward = (
            record.curves[f"nfe_{direction}/tolerance"].y for direction in ("forward", "backward")
        )
        nfe.plot(forward, backward, color=looks[variant], marker="o", label=variant)
    nfe.set(xlabel="NFE forward", ylabel="NFE backward")
    nfe.legend()
    return figure
