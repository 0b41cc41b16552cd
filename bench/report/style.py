"""The common look of every figure, and its rendering to bytes that depend on the records alone."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from io import BytesIO
from typing import Any

from bench.text import plain

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D00")
"""Eight colours that stay apart for readers with any common colour blindness (after Okabe and Ito)."""

LINES = ("-", "--", "-.", ":")

COLUMNS = 4
"""Panels side by side in a figure with one for each variant."""

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Without a fixed salt every file gets new random identifiers.
    "svg.hashsalt": "cnf-bench",
    "pdf.fonttype": 42,
}


def context() -> AbstractContextManager[None]:
    """Return the context in which figures are drawn and saved; it restores the caller's settings."""
    import matplotlib

    return matplotlib.rc_context(RC)


def literal(text: str) -> str:
    """Return text from a record as a figure shows it: as it is, on one line, and never as a formula.

    >>> literal("a $x$")
    'a \\\\$x\\\\$'
    """
    return plain(text).replace("$", r"\$")


def new_figure(rows: int = 1, cols: int = 1, width: float = 3.4, height: float = 2.6, **subplots: Any) -> Any:
    """Return `(figure, axes)` in the common style, with no pyplot state.

    Args:
        rows: rows of panels.
        cols: columns of panels.
        width: inches a panel.
        height: inches a panel.
        **subplots: passed to `Figure.subplots` (`sharex`, `squeeze`, `subplot_kw`...).

    Returns:
        The figure, and one `Axes` or a NumPy array of them as `Figure.subplots` gives.
    """
    from cycler import cycler
    from matplotlib.figure import Figure

    with context():
        figure = Figure(figsize=(width * cols, height * rows), layout="constrained")
        axes = figure.subplots(rows, cols, **subplots)
        for ax in figure.axes:
            ax.set_prop_cycle(cycler(color=COLOURS))
    return figure, axes


def grid(panels: int, width: float, height: float, **subplots: Any) -> tuple[Any, Any]:
    """Return a figure of at most four columns, and the flat array of its axes, of which those not needed are hidden."""
    cols = min(COLUMNS, panels)
    rows = -(-panels // cols)
    figure, axes = new_figure(rows, cols, width=width, height=height, squeeze=False, **subplots)
    for ax in axes.flat[panels:]:
        ax.set_visible(False)
    return figure, axes.flatten()


def legend_below(figure: Any, axes: Iterable[Any]) -> None:
    """Name what the panels show, once each, in a row below them."""
    handles = {
        label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles)))


def render(figure: Any) -> dict[str, bytes]:
    """Return a figure as `svg` and `pdf` bytes, equal whenever the figure is."""
    pages = {}
    with context():
        for kind, date in (("svg", "Date"), ("pdf", "CreationDate")):
            buffer = BytesIO()
            figure.savefig(buffer, format=kind, metadata={date: None})
            pages[kind] = buffer.getvalue()
    return pages
