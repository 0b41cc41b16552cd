"""Figures of flows trained on images by Flow Matching, drawn from records alone."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from bench.record import Record
from bench.report.style import COLOURS, new_figure
from replications.flow_matching.experiments.images.declaration import REAL
from replications.tasks.figures import first_seeds, mosaic

FID_OF_REAL = f"fid[{REAL}, few]"


def samples(records: Sequence[Record]) -> Any | None:
    """Samples by dopri5, one seed of each variant; a network with classes has one class a row."""
    chosen = {
        variant if key == "samples" else f"{variant}, guided": board(record.array(key))
        for key in ("samples", "samples_guided")
        for variant, record in first_seeds(records, key).items()
    }
    if not chosen:
        return None
    shares = [picture.shape[1] / picture.shape[0] for picture in chosen.values()]
    width = 2.6 * sum(shares) / len(shares)
    figure, axes = new_figure(1, len(chosen), width=width, height=2.9, squeeze=False, width_ratios=shares)
    for ax, (title, picture) in zip(axes[0], chosen.items(), strict=True):
        ax.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.set_title(title, fontsize=7)
        ax.set_axis_off()
    return figure


def board(samples: Any) -> Any:
    """Return samples `(rows, columns, C, H, W)` as one picture, values 0..1, `(rows H, columns W, C)`."""
    rows, columns, *shape = samples.shape
    return mosaic(samples.reshape(rows * columns, *shape), columns)


def training(records: Sequence[Record]) -> Any | None:
    """Loss and FID of the averaged weights over training; each seed thin, their mean thick."""
    panels = [("loss", "mean squared error"), ("validation", "FID")]
    panels = [(key, label) for key, label in panels if any(key in record.curves for record in records)]
    if not panels:
        return None
    figure, axes = new_figure(1, len(panels), squeeze=False)
    for ax, (key, label) in zip(axes[0], panels, strict=True):
        lines(ax, records, key)
        ax.set(xlabel="iteration", ylabel=label, yscale="log")
    return legend(figure, axes[0][0])


def nfe(records: Sequence[Record]) -> Any | None:
    """FID against NFE, each seed thin, their mean thick; dotted: dopri5 at its NFE; grey: as many real test images."""
    methods = list(dict.fromkeys(key for r in records for key in r.curves if key.startswith("fid_")))
    if not methods:
        return None
    figure, axes = new_figure(1, len(methods), height=3.0, squeeze=False, sharey=True)
    real = [record.metrics[FID_OF_REAL].value for record in records if FID_OF_REAL in record.metrics]
    for ax, key in zip(axes[0], methods, strict=True):
        lines(ax, records, key, marker="o")
        for place, runs in enumerate(by_variant(records).values()):
            found = [r.metrics["fid[dopri5]"].value for r in runs if "fid[dopri5]" in r.metrics]
            if found:
                ax.axhline(statistics.fmean(found), color=COLOURS[place % 8], linestyle=":", linewidth=0.9)
        if real:
            ax.axhline(statistics.fmean(real), color="grey", linewidth=0.9)
        marks = sorted({n for r in records if key in r.curves for n in r.curves[key].x})
        ax.set_xscale("log", base=2)
        ax.set_xticks(marks, [f"{n:g}" for n in marks])
        ax.set(title=key.removeprefix("fid_"), xlabel="NFE", yscale="log")
    axes[0][0].set_ylabel("FID")
    return legend(figure, axes[0][0])


def by_variant(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the records of each variant, in the records' order."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.identity.variant, []).append(record)
    return found


def lines(ax: Any, records: Sequence[Record], key: str, **look: Any) -> None:
    """Draw a curve of every record: seeds thin, the mean of a variant's seeds thick."""
    for place, (variant, runs) in enumerate(by_variant(records).items()):
        curves = [record.curves[key] for record in runs if key in record.curves]
        colour = COLOURS[place % 8]
        for curve in curves:
            ax.plot(curve.x, curve.y, color=colour, linewidth=0.5, alpha=0.5)
        if curves and len({curve.x for curve in curves}) == 1:
            mean = [statistics.fmean(values) for values in zip(*(curve.y for curve in curves), strict=True)]
            ax.plot(curves[0].x, mean, color=colour, label=variant, **look)


def legend(figure: Any, ax: Any) -> Any:
    """Return the figure with the legend of one of its panels below."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, max(1, len(labels))))
    return figure
