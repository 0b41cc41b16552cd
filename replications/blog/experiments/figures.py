"""The figures of the blog's experiments, drawn from records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.experiment import TIERS
from bench.record import Curve, Record
from bench.report.style import COLOURS, LINES, new_figure


def of_variant(records: Iterable[Record], variant: str) -> list[Record]:
    """Return a variant's finished records at the highest tier it has, by seed."""
    found = [r for r in records if r.identity.variant == variant and r.status == "done"]
    top = max((TIERS.index(r.identity.tier) for r in found), default=0)
    return sorted((r for r in found if TIERS.index(r.identity.tier) == top), key=lambda r: r.identity.seed)


def _plot(ax: Any, curve: Curve, **look: Any) -> None:
    ax.plot(curve.x, curve.y, **look)


def _legend(ax: Any, columns: int = 2) -> None:
    """Put the legend below the panel, where it hides no curve."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=columns)


# -- spiral -----------------------------------------------------------------------------------------------------


def _spirals(records: Sequence[Record]) -> list[tuple[str, list[Record]]]:
    pairs = [(variant, of_variant(records, variant)) for variant in ("adjoint", "checkpoint")]
    return [(variant, found) for variant, found in pairs if found]


def trajectories(records: Sequence[Record]) -> Any:
    """Return both coordinates against time, true and learned, a panel a variant, every seed."""
    spirals = _spirals(records)
    if not spirals:
        return None
    figure, axes = new_figure(1, len(spirals), height=3.0, squeeze=False, sharey=True)
    for ax, (variant, found) in zip(axes[0], spirals):
        for i, axis in enumerate("xy"):
            for k, record in enumerate(found):
                label = f"{axis}, learned" if k == 0 else None
                _plot(ax, record.curves[f"trajectory[learned, {axis}]"], color=COLOURS[i], label=label)
            true = found[0].curves[f"trajectory[true, {axis}]"]
            _plot(ax, true, color="black", linestyle="--", linewidth=0.9, label="true" if i == 0 else None)
        ax.set(title=f"{variant}, {len(found)} seeds", xlabel="t")
        _legend(ax)
    return figure


def phase_portrait(records: Sequence[Record]) -> Any:
    """Return the learned and the true vector field with the trajectory, first seed of each variant."""
    spirals = _spirals(records)
    if not spirals:
        return None
    figure, axes = new_figure(1, len(spirals), height=3.4, squeeze=False, sharey=True)
    for ax, (variant, found) in zip(axes[0], spirals):
        curves = found[0].curves
        grid = found[0].array("grid")
        for name, colour, width in (("true", "#c8c8c8", 0.012), ("learned", COLOURS[0], 0.004)):
            field = found[0].array(f"field[{name}]")
            ax.quiver(*grid.T, *field.T, color=colour, angles="xy", width=width, scale=70, label=name)
        for name, look in (("true", "--"), ("learned", "-")):
            x, y = (curves[f"trajectory[{name}, {axis}]"].y for axis in "xy")
            ax.plot(x, y, look, color="black" if name == "true" else COLOURS[1], linewidth=1.2)
        ax.set(title=variant, xlabel="x", aspect="equal")
    axes[0, 0].set_ylabel("y")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def spiral_loss(records: Sequence[Record]) -> Any:
    """Return the training loss against the iteration, every seed."""
    spirals = _spirals(records)
    if not spirals:
        return None
    figure, ax = new_figure()
    for i, (variant, found) in enumerate(spirals):
        for k, record in enumerate(found):
            label = variant if k == 0 else None
            _plot(ax, record.curves["loss"], color=COLOURS[i], linestyle=LINES[i], linewidth=0.9, label=label)
    ax.set(xlabel="iteration", ylabel="mean squared error", yscale="log")
    ax.legend()
    return figure


# -- memory and time --------------------------------------------------------------------------------------------

WAYS = ("backprop", "adjoint_fixed", "adjoint_adaptive", "checkpoint_fixed", "checkpoint_adaptive")


def memory_time(records: Sequence[Record]) -> Any:
    """Return bars of peak memory and of forward plus backward time by way, a row a data set; dots are the seeds."""
    groups = [g for p in ("", "digits_") if (g := {w: f for w in WAYS if (f := of_variant(records, p + w))})]
    if not groups:
        return None
    figure, axes = new_figure(len(groups), 2, squeeze=False)
    panels = (
        ("peak_memory", 2.0**-20, "peak memory (MiB)"),
        ("forward_backward_time", 1e3, "forward + backward (ms)"),
    )
    for row, group in zip(axes, groups):
        data = next(iter(group.values()))[0].identity.config["data"]
        for ax, (metric, scale, label) in zip(row, panels):
            _bars(ax, group, metric, scale)
            ax.set(title=data, xlabel=label)
    return figure


def _bars(ax: Any, group: dict[str, list[Record]], metric: str, scale: float) -> None:
    for i, (way, found) in enumerate(group.items()):
        values = [scale * v for r in found if (v := r.value(metric)) is not None]
        if values:
            ax.barh(i, sum(values) / len(values), color=COLOURS[WAYS.index(way)], alpha=0.75)
            ax.plot(values, [i] * len(values), ".", color="black")
    ax.set_yticks(range(len(group)), [way.replace("_", ", ") for way in group])
    ax.invert_yaxis()


# -- theory -----------------------------------------------------------------------------------------------------


def picard(records: Sequence[Record]) -> Any:
    """Return Picard iterates of x' = -2 t x, the error against its bound, and two solutions from one start."""
    found = of_variant(records, "picard")
    if not found:
        return None
    figure, (left, middle, right) = new_figure(1, 3, height=3.4)
    curves = found[0].curves
    for n in range(6):
        _plot(left, curves[f"iterate[timed, {n}]"], color=COLOURS[n], label=f"n = {n}")
    _plot(left, curves["solution[timed]"], color="black", linestyle="--", label="solution")
    left.set(title="x' = -2 t x", xlabel="t", ylabel="$x_n(t)$")
    for i, name in enumerate(("linear", "timed", "sine")):
        _plot(middle, curves[f"error[{name}]"], color=COLOURS[i], marker="o", label=name)
        _plot(middle, curves[f"bound[{name}]"], color=COLOURS[i], linestyle=":")
    middle.set(title="error (dots), bound (dotted)", xlabel="n", yscale="log", ylim=(1e-16, 1e2))
    for i, name in enumerate(("zero", "t^2/4")):
        _plot(right, curves[f"solution[root: {name}]"], color=COLOURS[i], label=name)
    right.set(title="x' = $\\sqrt{|x|}$, x(0) = 0: two limits", xlabel="t")
    for ax in (left, middle, right):
        _legend(ax)
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
        _legend(ax)
    _ladders(axes[1, 1], found, [f"volume_error[{name}]" for name in (*names, "network")])
    return figure


def density(records: Sequence[Record]) -> Any:
    """Return the carried density against its closed form, and errors of density and mass against the tolerance."""
    found = of_variant(records, "density")
    if not found:
        return None
    figure, axes = new_figure(1, 2, height=3.2)
    curves = found[0].curves
    _plot(axes[0], curves["density[tanh]"], label="carried along x' = tanh x")
    _plot(axes[0], curves["density[tanh, closed form]"], color="black", linestyle="--", label="closed form")
    _plot(axes[0], curves["density[network]"], color=COLOURS[2], label="carried along a network")
    axes[0].set(xlabel="x", ylabel="density")
    _legend(axes[0], 1)
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
            _plot(ax, record.curves[key], color=COLOURS[i], linestyle=LINES[i], marker="o", label=label)
    ax.set(xscale="log", yscale="log", xlabel="rtol = atol", title=f"error, {len(found)} seeds")
    _legend(ax)


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
            _plot(left, record.curves[f"map[{label}]"], **look)
            _plot(right, record.curves[f"loss[{label}]"], **look)
    left.plot([-1, 1], [1, -1], ":", color="black", label="-x")
    left.set(xlabel="x", ylabel="learned endpoint")
    right.axhline(1.0, color="black", linestyle=":", label="1-D bound")
    right.set(xlabel="iteration", ylabel="loss / bound", yscale="log")
    for ax in (left, right):
        _legend(ax)
    return figure
