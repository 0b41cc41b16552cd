"""Figures of FFJORD's diagnostics, drawn from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, LINES, new_figure
from replications.tasks.figures import first_seeds

KINDS = ("rademacher", "gaussian")


def cost(records: Sequence[Record]) -> Any | None:
    """Time of a divergence against the dimension by every way, a panel a network, one seed."""
    chosen = first_seeds(records, "time/D[exact]")
    if not chosen:
        return None
    figure, axes = new_figure(1, len(chosen), height=3.4, squeeze=False, sharey=True)
    ways = list(dict.fromkeys(name for r in chosen.values() for name in _qualifiers(r, "time/D")))
    looks = {way: {"color": COLOURS[i % 8], "linestyle": LINES[i // 8]} for i, way in enumerate(ways)}
    for ax, (variant, record) in zip(axes[0], chosen.items(), strict=True):
        for way in _qualifiers(record, "time/D"):
            curve = record.curves[f"time/D[{way}]"]
            ax.plot(curve.x, curve.y, marker="o", markersize=2.5, label=way, **looks[way])
        ax.set(title=variant, xscale="log", yscale="log", xlabel="D")
    axes[0, 0].set_ylabel("time (s)")
    _legend_below(figure)
    return figure


def variance(records: Sequence[Record]) -> Any | None:
    """Variance of an estimated trace against dimension and probes: dots measured, lines the closed form."""
    chosen = first_seeds(records, "variance/K[gaussian]")
    if not chosen:
        return None
    figure, (by_dim, by_probes) = new_figure(1, 2, height=3.2)
    for i, (variant, record) in enumerate(chosen.items()):
        for kind, line in zip(KINDS, LINES):
            colour = COLOURS[i % 8]
            found, law, means = (
                record.curves[f"variance/{key}"]
                for key in (f"D[{kind}]", f"D[{kind}, closed form]", f"K[{kind}]")
            )
            by_dim.plot(law.x, law.y, line, color=colour, label=f"{variant}, {kind}")
            by_dim.plot(found.x, found.y, "o", color=colour)
            by_probes.plot(means.x, [means.y[0] * means.x[0] / k for k in means.x], line, color=colour)
            by_probes.plot(means.x, means.y, "o", color=colour)
    by_dim.set(xscale="log", yscale="log", xlabel="D", ylabel="variance, K = 1")
    by_probes.set(xscale="log", yscale="log", xlabel="K", ylabel="variance, largest D")
    _legend_below(figure)
    return figure


def probes(records: Sequence[Record]) -> Any | None:
    """Evaluations of dopri5 against its tolerance, probes drawn once a solve and at every evaluation, all seeds."""
    found = [r for r in records if f"nfe/tolerance[{KINDS[0]}, fixed]" in r.curves]
    if not found:
        return None
    figure, ax = new_figure(height=3.2)
    for i, kind in enumerate(KINDS):
        for line, name in zip(LINES, ("fixed", "fresh")):
            for k, record in enumerate(found):
                curve = record.curves[f"nfe/tolerance[{kind}, {name}]"]
                label = f"{kind}, {name}" if k == 0 else None
                ax.plot(curve.x, curve.y, line, color=COLOURS[i], marker="o", label=label)
    ax.set(xscale="log", yscale="log", xlabel="rtol = atol", ylabel="NFE")
    ax.legend()
    return figure


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
    _legend_below(figure)
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
    _legend_below(figure)
    return figure


def _qualifiers(record: Record, key: str) -> list[str]:
    """Return the qualifiers of the record's curves of that key."""
    return [name[len(key) + 1 : -1] for name in record.curves if name.startswith(f"{key}[")]


def _legend_below(figure: Any) -> None:
    """Put one legend for all panels below them."""
    handles = {
        label: h for ax in figure.axes for h, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
