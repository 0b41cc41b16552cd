"""Figures of `blog.theory`, drawn from records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, LINES, new_figure
from replications.blog.plots import legend, of_variant, plot


def picard(records: Sequence[Record]) -> Any:
    """Return Picard iterates of x' = -2 t x, the error against its bound, and two solutions from one start."""
    found = of_variant(records, "picard")
    if not found:
        return None
    figure, (left, middle, right) = new_figure(1, 3, height=3.4)
    curves = found[0].curves
    for n in range(6):
        plot(left, curves[f"iterate[timed, {n}]"], color=COLOURS[n], label=f"n = {n}")
    plot(left, curves["solution[timed]"], color="black", linestyle="--", label="solution")
    left.set(title="x' = -2 t x", xlabel="t", ylabel="$x_n(t)$")
    for i, name in enumerate(("linear", "timed", "sine")):
        plot(middle, curves[f"error[{name}]"], color=COLOURS[i], marker="o", label=name)
        plot(middle, curves[f"bound[{name}]"], color=COLOURS[i], linestyle=":")
    middle.set(title="error (dots), bound (dotted)", xlabel="n", yscale="log", ylim=(1e-16, 1e2))
    for i, name in enumerate(("zero", "t^2/4")):
        plot(right, curves[f"solution[root: {name}]"], color=COLOURS[i], label=name)
    right.set(title="x' = $\\sqrt{|x|}$, x(0) = 0: two limits", xlabel="t")
    for ax in (left, middle, right):
        legend(ax)
    return figure


def liouville(records: Sequence[Record]) -> Any:
    """Return a disc and its images under three flows, and the error of the volume law against the tolerance."""
    found = of_variant(records, "liouville")
    if not found:
        return None
    names = ("linear", "hamiltonian", "damped")
    figure, axes = new_figure(2, 2, height=3.2)
    for ax, name in zip(axes.flat, names):
        images = [(key, c) for key, c in found[0].curves.items() if key.startswith(f"boundary[{name}")]
        for i, (key, curve) in enumerate(images):
            ax.fill(curve.x, curve.y, color=COLOURS[i], alpha=0.5, label=key.split(", ")[1].rstrip("]"))
        ax.set(title=name, aspect="equal")
        legend(ax)
    _ladders(axes[1, 1], found, [f"volume_error[{name}]" for name in (*names, "network")])
    return figure


def density(records: Sequence[Record]) -> Any:
    """Return the carried density against its closed form, and errors of density and mass against the tolerance."""
    found = of_variant(records, "density")
    if not found:
        return None
    figure, axes = new_figure(1, 2, height=3.2)
    curves = found[0].curves
    plot(axes[0], curves["density[tanh]"], label="carried along x' = tanh x")
    plot(axes[0], curves["density[tanh, closed form]"], color="black", linestyle="--", label="closed form")
    plot(axes[0], curves["density[network]"], color=COLOURS[2], label="carried along a network")
    axes[0].set(xlabel="x", ylabel="density")
    legend(axes[0], 1)
    keys = [
        "density_error[linear]",
        "density_error[tanh]",
        "volume_error[mass: tanh]",
        "volume_error[mass: network]",
    ]
    _ladders(axes[1], found, keys)
    return figure


def _ladders(ax: Any, found: Sequence[Record], keys: Sequence[str]) -> None:
    for i, key in enumerate(keys):
        for k, record in enumerate(found):
            label = key.replace("_error[", ", ").rstrip("]") if k == 0 else None
            plot(ax, record.curves[key], color=COLOURS[i], linestyle=LINES[i], marker="o", label=label)
    ax.set(xscale="log", yscale="log", xlabel="rtol = atol", title=f"error, {len(found)} seeds")
    legend(ax)


def sign_flip(records: Sequence[Record]) -> Any:
    """Return the learned maps beside x -> -x, and the loss in units of the one-dimensional bound."""
    found = of_variant(records, "sign_flip")
    if not found:
        return None
    figure, (left, right) = new_figure(1, 2, height=3.2)
    for i, label in enumerate(("1-D", "augmented")):
        for k, record in enumerate(found):
            look: dict[str, Any] = {
                "color": COLOURS[i],
                "linestyle": LINES[i],
                "label": label if k == 0 else None,
            }
            plot(left, record.curves[f"map[{label}]"], **look)
            plot(right, record.curves[f"loss[{label}]"], **look)
    left.plot([-1, 1], [1, -1], ":", color="black", label="-x")
    left.set(xlabel="x", ylabel="learned endpoint")
    right.axhline(1.0, color="black", linestyle=":", label="1-D bound")
    right.set(xlabel="iteration", ylabel="loss / bound", yscale="log")
    for ax in (left, right):
        legend(ax)
    return figure
