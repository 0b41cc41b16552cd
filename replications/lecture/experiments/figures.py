"""The figures of the lecture's experiments, drawn from records."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from bench.experiment import TIERS
from bench.record import Curve, Record
from bench.report.style import COLOURS, LINES, new_figure

PROBLEMS = ("forced", "oscillator", "linear")
_LOOKS = [(colour, LINES[i % len(LINES)]) for i, colour in enumerate(COLOURS)] + [(COLOURS[0], ":")]
METHOD_LOOKS = dict(
    zip(
        ("euler", "midpoint", "rk4", "rk4_38", "explicit_adams", "implicit_adams", "dopri5", "bdf", "radau"),
        _LOOKS,
        strict=True,
    )
)


def chosen(records: Iterable[Record]) -> list[Record]:
    """Return the finished records of the highest tier there is, by variant and seed."""
    done = [r for r in records if r.status == "done"]
    top = max((TIERS.index(r.identity.tier) for r in done), default=-1)
    found = [r for r in done if TIERS.index(r.identity.tier) == top]
    return sorted(found, key=lambda r: (r.identity.variant, r.identity.seed))


def _first_seeds(records: Iterable[Record]) -> dict[str, Record]:
    """One record a method; only the problem `linear` differs between seeds."""
    groups = itertools.groupby(chosen(records), key=lambda r: r.identity.variant)
    return {variant: next(group) for variant, group in groups}


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
    firsts = _first_seeds(records)
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
    shown = {m: r for m, r in _first_seeds(records).items() if m in ("dopri5", "bdf", "radau")}
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
            ax.legend(*_unique(ax))
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


def _unique(ax: Any) -> tuple[list[Any], list[str]]:
    """Legend entries without the repeats that several seeds give."""
    entries = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    return list(entries.values()), list(entries)
