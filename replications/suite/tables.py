"""The suite's tables: methods by rank with letters, error budget of a likelihood, findings."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bench.record import Record
from bench.report.rounding import plus_minus
from bench.report.table import EMPTY, Column, Table, number
from bench.stats import Interval, mean_interval
from replications.suite import findings, ranking, rows

LETTERS = (
    "Methods of one column that share a letter can't be told apart: the interval of their paired difference over seeds "
    "includes zero, all pairs of the column judged together at 95 % (Bonferroni)."
)


def tables(records: Sequence[Record]) -> list[Table]:
    """Return the tables of a suite from its records of one tier."""
    made = []
    for title, chosen in (("time", rows.by_time(records)), ("evaluations", rows.by_evaluations(records))):
        if any(record.status == "done" for record in chosen):
            made += _of_budget(title, chosen)
    return made


def _of_budget(budget: str, records: Sequence[Record]) -> list[Table]:
    known = [set(rows.values(records, key)) for key in ("kl", "nll")]
    key = "kl" if known[0] == known[1] else "nll"
    quality = _quality(records, key, f"Equal {budget}: log-density")
    samples = _quality(records, "debiased_wasserstein2", f"Equal {budget}: samples")
    return [
        table for table in (quality, samples, _errors(records, f"Equal {budget}: error of the NLL")) if table
    ]


TITLES = {
    "kl": "KL divergence from the truth, nats",
    "nll": "NLL, nats",
    "debiased_wasserstein2": "debiased squared W2",
}


def _quality(records: Sequence[Record], key: str, title: str) -> Table | None:
    """Return the methods by mean rank, with mean and letters on each data set; yardsticks below, not ranked."""
    found = rows.values(records, key)
    if not found:
        return None
    ours = {data: rows.ranked(values) for data, values in found.items()}
    letters = {data: ranking.letters(values) for data, values in ours.items() if len(values) > 1}
    ranks = _ranks(ours)
    methods = sorted(
        dict.fromkeys(method for values in found.values() for method in values),
        key=lambda m: (not rows.is_ranked(m), ranks[m].mean if m in ranks else np.inf),
    )
    cells = [
        (
            rows.name(method),
            _rank(ranks.get(method)),
            *(_cell(values.get(method), letters.get(data, {}).get(method)) for data, values in found.items()),
        )
        for method in methods
    ]
    seeds = sorted({record.identity.seed for record in records})
    caption = (
        f"{TITLES[key]}: mean ± half-width of the 95 % interval over seeds {', '.join(map(str, seeds))}, lower is "
        "better; methods by mean rank with its bootstrap interval, yardsticks below."
    )
    columns = (
        Column("method"),
        Column("mean rank", align="right"),
        *(Column(data, align="right") for data in found),
    )
    notes = [LETTERS, *findings.sentences(ours, key, ranks)]
    return Table(title, caption, columns, tuple(cells), tuple(notes))


def _ranks(tables: Mapping[str, ranking.Values]) -> dict[str, Interval]:
    """Return the mean ranks; none for a single data set, method or seed."""
    seeds = [len(by_seed) for values in tables.values() for by_seed in values.values()]
    if len(tables) < 2 or any(len(values) < 2 for values in tables.values()) or min(seeds) < 2:
        return {}
    try:
        return ranking.mean_ranks(tables, np.random.default_rng(0))
    except ValueError:
        return {}


def _rank(interval: Interval | None) -> str:
    if interval is None or interval.low is None or interval.high is None:
        return EMPTY
    return f"{interval.mean:.1f} [{interval.low:.1f}, {interval.high:.1f}]"


def _cell(values: Mapping[int, float] | None, letters: str | None) -> str:
    finite = [value for value in (values or {}).values() if math.isfinite(value)]
    failed = len(values or {}) - len(finite)
    told = f"({failed} failed)" if failed else ""
    if not finite:
        return told or EMPTY
    interval = mean_interval(finite)
    text = number(interval.mean)
    if interval.low is not None and interval.high is not None:
        text = plus_minus(interval.mean, interval.low, interval.high)
    return " ".join(part for part in (text, letters, told) if part)


def _errors(records: Sequence[Record], title: str) -> Table | None:
    """Return where the error of an NLL comes from, in nats: medians over data sets, and which one dominates."""
    cells = []
    for method, own in _by_method(records).items():
        parts = {
            "solver": _median(own, "nll_error"),
            "trace estimator": _median(own, "trace_error_nll"),
            "finite test": statistics.median(r.metrics["nll"].se or 0.0 for r in own),
            "seeds": _spread(own),
        }
        known = {name: value for name, value in parts.items() if value is not None}
        first = max(known, key=lambda name: known[name])
        cells.append(
            (rows.name(method), *(EMPTY if v is None else number(v, 2) for v in parts.values()), first)
        )
    if not cells:
        return None
    columns = (
        Column("method"), Column("solver", "nats", "right"), Column("trace estimator", "nats", "right"),
        Column("finite test", "nats", "right"), Column("seeds", "nats", "right"), Column("largest"),
    )  # fmt: skip
    caption = (
        "Error of the NLL by source, median over data sets and seeds: of the solver against a far smaller tolerance, "
        "of one Rademacher probe a solve in place of the exact trace, standard error over the test points, standard "
        "error over seeds."
    )
    notes = ("The tables' NLL has the exact trace; the estimator's error is what it would be without it.",)
    return Table(title, caption, columns, tuple(cells), notes)


def _by_method(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        _, method = rows.of(record)
        if record.status == "done" and rows.is_ranked(method) and "nll" in record.metrics:
            found.setdefault(method, []).append(record)
    return found


def _median(records: Sequence[Record], key: str) -> float | None:
    values = [record.metrics[key].value for record in records if key in record.metrics]
    return statistics.median(values) if values else None


def _spread(records: Sequence[Record]) -> float | None:
    """Return the standard error over seeds of the NLL, median over data sets."""
    by: dict[str, list[float]] = {}
    for record in records:
        by.setdefault(rows.of(record)[0], []).append(record.metrics["nll"].value)
    errors = [statistics.stdev(v) / len(v) ** 0.5 for v in by.values() if len(v) > 1]
    return statistics.median(errors) if errors else None
