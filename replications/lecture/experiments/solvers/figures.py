"""Figures of `lecture.solvers`, drawn from records alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.record import Curve, Record
from bench.report.style import COLOURS, LINES, new_figure
from replications.lecture.plots import first_seeds

PROBLEMS = ("forced", "oscillator", "linear")

_LOOKS = [(colour, LINES[i % len(LINES)]) for i, colour in enumerate(COLOURS)] + [(COLOURS[0], ":")]

METHOD_LOOKS = dict(
    zip(
        ("euler", "midpoint", "rk4", "rk4_38", "explicit_adams", "implicit_adams", "dopri5", "bdf", "radau"),
        _LOOKS,
        strict=True,
    )
)


def _plot(ax: Any, records: dict[str, Record], key: str, marker: str = "o") -> Curve | None:
    """Draw a curve of every method that has it, log-log; return one of them for its labels."""
    drawn = None
    for method, (colour, line) in METHOD_LOOKS.items():
        curve = records[method].curves.get(key) if method in records else None
        if curve is not None:
            ax.loglog(curve.x, curve.y, marker=marker, color=colour, linestyle=line, label=method)
            ax.set(xlabel=curve.x_label, ylabel=curve.y_label)
            drawn = curve
    return drawn


def _panels(records: Iterable[Record], keys: Sequence[str], titles: Sequence[str]) -> Any:
    """Return one log-log panel a curve key, or None where no record holds any."""
    firsts = first_seeds(records)
    figure, axes = new_figure(1, len(keys), squeeze=False)
    drawn = [_plot(ax, firsts, key) for ax, key in zip(axes[0], keys, strict=True)]
    if not any(drawn):
        return None
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center")
    return figure


def work_precision(records: Iterable[Record]) -> Any:
    """Error against function evaluations: number of steps (fixed grids) or tolerance (adaptive) varied."""
    return _panels(records, [f"error_against_nfe[{name}]" for name in PROBLEMS], PROBLEMS)


def order(records: Iterable[Record]) -> Any:
    """Error at the final time against the step size, methods with a fixed step."""
    return _panels(records, [f"error_against_step[{name}]" for name in PROBLEMS], PROBLEMS)


def tolerance_ladder(records: Iterable[Record]) -> Any:
    """Error and function evaluations against the relative tolerance, adaptive methods."""
    keys = ("error_against_tolerance[forced]", "nfe_against_tolerance[forced]")
    return _panels(records, keys, ("forced: error", "forced: cost"))


def stiff_cost(records: Iterable[Record]) -> Any:
    """Function evaluations on the stiff problems for explicit dopri5 and two implicit solvers."""
    shown = {m: r for m, r in first_seeds(records).items() if m in ("dopri5", "bdf", "radau")}
    problems = ("forced", "stiff", "vanderpol")
    bars = {m: [_loosest(r, name) for name in problems] for m, r in shown.items()}
    if not any(any(values) for values in bars.values()):
        return None
    figure, ax = new_figure(width=4.6)
    for i, (method, values) in enumerate(bars.items()):
        positions = [k + 0.27 * (i - 1) for k in range(len(problems))]
        ax.bar(positions, values, width=0.25, color=METHOD_LOOKS[method][0], label=method)
    ax.set_yscale("log")
    ax.set_xticks(range(len(problems)), ("forced\n(not stiff)", "linear\n(stiff)", "van der Pol\n(stiff)"))
    ax.set(ylabel="function evaluations", title="Cost of a solve at rtol = 1e-3")
    ax.legend()
    return figure


def _loosest(record: Record, problem: str) -> float:
    return record.value(f"nfe[{problem}/1e-3]") or 0.0
