"""The files that a fit writes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from bench.report.table import csv_text
from replications.suite.fitted_page import page, pairs
from replications.suite.fitting import Outcome
from replications.suite.table import Rows, Table


def csv(names: Sequence[str], rows: Rows) -> str:
    """Return rows `(N, D)` as CSV; whole numbers of a column of whole numbers are written without a point."""
    whole = [bool((column == np.round(column)).all()) for column in rows.T]
    cells = [[int(v) if w else float(v) for v, w in zip(row, whole, strict=True)] for row in rows]
    return csv_text(names, cells)


def files(table: Table, outcome: Outcome, samples: int, seed: int, source: str) -> dict[str, bytes]:
    """Return model, log-density of the held-out rows, samples, a summary, pair plots and a page, by name."""
    fitted, held_out = outcome.fitted, outcome.held_out
    rows = table.rows[held_out]
    log_p, drawn = fitted.log_prob(rows), fitted.sample(samples, seed)
    nll, se = float(-log_p.mean()), float(log_p.std(ddof=1) / np.sqrt(len(log_p)))
    summary = {
        "method": fitted.method, "source": source, "columns": list(fitted.names), "rows": len(table.rows),
        "held_out": len(rows), "iterations": outcome.iterations, "seed": seed, "held_out_nll": nll,
        "standard_error": se,
    }  # fmt: skip
    facts = [
        ("method", fitted.method),
        ("rows, columns", f"{len(table.rows)}, {len(fitted.names)}"),
        ("iterations", str(outcome.iterations)),
        ("NLL of held-out rows", f"{nll:.4f} ± {se:.4f} nats (standard error, {len(rows)} rows)"),
    ]
    made = {
        "heldout.csv": csv(("row", "log_prob"), np.column_stack((held_out + 1, log_p))),
        "samples.csv": csv(fitted.names, drawn),
        "summary.json": json.dumps(summary, indent=1) + "\n",
        "index.html": page(f"{fitted.method} fitted to {source}", facts),
    }
    binary = {"model.pt": fitted.packed(), "pairs.svg": pairs(fitted.names, rows, drawn)}
    return {name: text.encode() for name, text in made.items()} | binary
