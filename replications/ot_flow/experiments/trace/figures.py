"""The figure of OT-Flow's exact trace, drawn from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, new_figure
from replications.tasks.figures import first_seeds


def trace(records: Sequence[Record]) -> Any | None:
    """Time and error against the number of vectors, one seed; lines: the exact trace's time, the expected error."""
    chosen = first_seeds(records, "time/K[hutchinson]")
    if not chosen:
        return None
    figure, (times, errors) = new_figure(1, 2, height=3.0)
    for colour, (variant, record) in zip(COLOURS, chosen.items()):
        found, error, law = (
            record.curves[key] for key in ("time/K[hutchinson]", "error/K[hutchinson]", "error/K[expected]")
        )
        exact, short = (record.metrics[f"evaluation_time[{name}]"].value for name in ("exact", "exact by G"))
        times.plot(found.x, found.y, "o-", color=colour, label=f"{variant}, estimate")
        times.axhline(exact, color=colour, linestyle="--", label=f"{variant}, exact")
        times.axhline(short, color=colour, linestyle=":", linewidth=0.9, label=f"{variant}, exact by G")
        errors.plot(error.x, error.y, "o", color=colour, label=f"{variant}, measured")
        errors.plot(law.x, law.y, "-", color=colour, linewidth=0.9, label=f"{variant}, expected")
    times.set(xscale="log", yscale="log", xlabel="vectors K", ylabel="time (s)")
    errors.set(xscale="log", yscale="log", xlabel="vectors K", ylabel="relative error")
    for ax in (times, errors):  # below, where it hides no line
        ax.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure
