"""Figures of `ffjord.trace`, drawn from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, LINES, legend_below, new_figure
from replications.tasks.figures import first_seeds

KINDS = ("rademacher", "gaussian")


def cost(records: Sequence[Record]) -> Any | None:
    """Time of a divergence against the dimension by every method, a panel a network, one seed."""
    chosen = first_seeds(records, "time/D[exact]")
    if not chosen:
        return None
    figure, axes = new_figure(1, len(chosen), height=3.4, squeeze=False, sharey=True)
    methods = list(dict.fromkeys(name for r in chosen.values() for name in _qualifiers(r, "time/D")))
    looks = {
        method: {"color": COLOURS[i % 8], "linestyle": LINES[i // 8]} for i, method in enumerate(methods)
    }
    for ax, (variant, record) in zip(axes[0], chosen.items(), strict=True):
        for method in _qualifiers(record, "time/D"):
            curve = record.curves[f"time/D[{method}]"]
            ax.plot(curve.x, curve.y, marker="o", markersize=2.5, label=method, **looks[method])
        ax.set(title=variant, xscale="log", yscale="log", xlabel="D")
    axes[0, 0].set_ylabel("time (s)")
    legend_below(figure, figure.axes)
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
    legend_below(figure, figure.axes)
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


def _qualifiers(record: Record, key: str) -> list[str]:
    """Return the qualifiers of the record's curves of that key."""
    return [name[len(key) + 1 : -1] for name in record.curves if name.startswith(f"{key}[")]
