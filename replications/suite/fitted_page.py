"""What a fit leaves for people: pair plots of held-out rows and samples, and one page."""

from __future__ import annotations

import html
from collections.abc import Sequence

from bench.report import style
from bench.report.style import COLOURS, new_figure
from replications.suite.table import Rows

MOST = 6
"""Columns of the pair plots."""
POINTS = 1000

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse }} td {{ padding: .2rem 1rem .2rem 0 }} img {{ max-width: 100% }}</style></head>
<body><h1>{title}</h1><table>{rows}</table>
<p>Below the diagonal held-out rows, above it samples; on it both.</p>
<img src="pairs.svg" alt="Pair plots of held-out rows and samples"></body></html>
"""


def pairs(names: Sequence[str], data: Rows, samples: Rows) -> bytes:
    """Return the pair plots as SVG: held-out rows `(N, D)` below the diagonal, samples above, both on it."""
    shown = list(names)[:MOST]
    n = len(shown)
    with style.context():
        figure, axes = new_figure(n, n, width=1.5, height=1.4, squeeze=False)
        for i in range(n):
            for j in range(n):
                ax = axes[i, j]
                if i == j:
                    ax.hist(data[:, i], 30, density=True, histtype="step", color=COLOURS[0], label="rows")
                    ax.hist(
                        samples[:, i],
                        30,
                        density=True,
                        histtype="step",
                        color=COLOURS[1],
                        ls="--",
                        label="samples",
                    )
                else:
                    points, colour = (data, COLOURS[0]) if i > j else (samples, COLOURS[1])
                    ax.plot(
                        points[:POINTS, j], points[:POINTS, i], ".", ms=1.5, color=colour, rasterized=True
                    )
                    ax.set_xlim(*_range(data[:, j]))
                    ax.set_ylim(*_range(data[:, i]))
                ax.tick_params(labelsize=6)
                if i == n - 1:
                    ax.set_xlabel(style.literal(shown[j]))
                if j == 0:
                    ax.set_ylabel(style.literal(shown[i]))
        axes[0, 0].legend(fontsize=6)
        return style.render(figure)["svg"]


def _range(values: Rows) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.1 * (high - low)
    return low - margin, high + margin


def page(title: str, facts: Sequence[tuple[str, str]]) -> str:
    """Return the page: a table of facts and the pair plots."""
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in facts)
    return PAGE.format(title=html.escape(title), rows=rows)
