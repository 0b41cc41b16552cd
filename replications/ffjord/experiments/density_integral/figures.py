"""Figures of `ffjord.density_integral`, drawn from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, LINES, legend_below, new_figure
from replications.tasks.figures import first_seeds


def mass(records: Sequence[Record]) -> Any | None:
    """Error of the total mass, and evaluations, against the tolerance: float64 solid, float32 dashed, all seeds."""
    found = [r for r in records if "mass_error/tolerance[float64]" in r.curves]
    if not found:
        return None
    figure, axes = new_figure(1, 2, height=3.2)
    variants = list(dict.fromkeys(r.identity.variant for r in found))
    labelled = set()
    for record in found:
        variant = record.identity.variant
        for line, dtype in zip(LINES, ("float64", "float32")):
            for ax, key in zip(axes, ("mass_error", "nfe"), strict=True):
                curve = record.curves[f"{key}/tolerance[{dtype}]"]
                label = None if (variant, key) in labelled else variant
                labelled.add((variant, key))
                colour = COLOURS[variants.index(variant) % 8]
                ax.plot(
                    curve.x, curve.y, line, color=colour, linewidth=0.9, marker="o", markersize=2, label=label
                )
    ladder = found[0].curves["mass_error/tolerance[float64]"].x
    axes[0].plot(ladder, ladder, ":", color="black", label="error = tolerance")
    axes[0].set(xscale="log", yscale="log", xlabel="rtol = atol", ylabel="|integral - 1|")
    axes[1].set(xscale="log", xlabel="rtol = atol", ylabel="NFE")
    legend_below(figure, figure.axes)
    return figure


def densities(records: Sequence[Record]) -> Any | None:
    """Learned density beside the data's, one seed of each variant."""
    chosen = first_seeds(records, "density[learned]")
    if not chosen:
        return None
    figure, axes = new_figure(1, len(chosen), width=2.4, squeeze=False, sharey=True)
    for ax, (variant, record) in zip(axes[0], chosen.items(), strict=True):
        for name, colour, line in (("data", "black", "--"), ("learned", COLOURS[0], "-")):
            curve = record.curves[f"density[{name}]"]
            ax.plot(curve.x, curve.y, line, color=colour, label=name)
        ax.set(title=variant, xlabel="x")
    axes[0, 0].set_ylabel("p(x)")
    legend_below(figure, figure.axes)
    return figure
