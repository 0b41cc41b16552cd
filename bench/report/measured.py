"""Tables of what was measured: variants against metrics, one table a tier, one protocol a column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.experiment import TIERS, Experiment
from bench.metrics.catalogue import is_time, split_key
from bench.record import Record
from bench.registry import resolve
from bench.report.rounding import plus_minus
from bench.report.table import EMPTY, Column, Table, display_unit, narrowed, number
from bench.stats import mean_interval
from bench.text import told

CSV_HEADER = (
    "experiment", "variant", "tier", "seed", "status",
    "metric", "value", "unit", "protocol", "n", "se", "shared", "message",
)  # fmt: skip

BESIDE_OTHERS = "‡"
"""Marks a time of which a part was measured on a shared machine."""

OLD_SEEDS = (
    "Some of these runs drew from random streams of schema 1; they are to be renewed (`cnf-bench status`)."
)


@dataclass(frozen=True)
class Quantity:
    """What one column holds: a metric key, measured in one way; `alone` where the block has no other way."""

    key: str
    protocol: str
    alone: bool

    def values(self, records: Iterable[Record]) -> list[float]:
        """Return the values of those records that measured the key in this way."""
        return [m.value for r in records if (m := r.metrics.get(self.key)) and m.protocol == self.protocol]

    def beside_others(self, record: Record) -> bool:
        """Whether this is a time, and the record has it from a shared machine."""
        timed = is_time(self.key) and record.shared is not None
        return timed and bool(self.values([record]))

    @property
    def header(self) -> str:
        """The key, with the protocol where another column has the same key."""
        return self.key if self.alone else f"{self.key} by {self.protocol}"


def tables(experiment: Experiment, records: Sequence[Record], bad: list[str] | None = None) -> list[Table]:
    """Return the experiment's own tables and one of all numbers for each tier, highest first, then the failed runs.

    Own tables that cannot be made of these records are left out, and a line in `bad` says so.
    """
    blocks: list[Table] = []
    for tier in reversed(TIERS):
        block = [r for r in records if r.identity.tier == tier]
        if block:
            declared = [r for r in in_order(experiment, block) if not changed(experiment, r)]
            for reference in experiment.tables:
                try:
                    blocks += resolve(reference)(declared)
                except Exception as error:  # of a paper's own code, on records that it was not made for
                    line = f"a table of {experiment.name} cannot be made of these records: {told(error)}"
                    (bad if bad is not None else []).append(line)
            blocks.append(narrowed(_block(experiment, tier, block)))
    return blocks + failures(experiment, records)


def _block(experiment: Experiment, tier: str, records: Sequence[Record]) -> Table:
    ordered = in_order(experiment, records)
    by_row: dict[str, list[Record]] = {}
    for record in ordered:
        by_row.setdefault(record.identity.row, []).append(record)
    done = [r for r in ordered if r.status == "done"]
    quantities = list(_quantities(experiment, done))
    columns, divisors = [Column("variant"), Column("runs")], []
    for quantity in quantities:
        unit, divisor = display_unit(_unit(quantity, done), quantity.values(done))
        columns.append(Column(quantity.header, unit, "right"))
        divisors.append(divisor)
    rows = [
        (row, _statuses(runs), *(_cell(q, runs, d) for q, d in zip(quantities, divisors, strict=True)))
        for row, runs in by_row.items()
    ]
    seeds = ", ".join(str(s) for s in sorted({r.identity.seed for r in records}))
    caption = experiment.caption(
        tier,
        f"{experiment.title} ({experiment.name}), tier {tier}, seeds {seeds}: "
        "mean ± half-width of the 95 % Student-t interval over seeds.",
    )
    absent = [
        v
        for v in experiment.variants
        if not (v in by_row or experiment.awaits(v)) and experiment.offers(v, tier)
    ]
    notes = [
        *_protocol_notes(quantities),
        *([f"No record at this tier: {', '.join(absent)}."] if absent else []),
        *([OLD_SEEDS] if not all(r.identity.renewed for r in records) else []),
        *_sharing_notes(quantities, done),
    ]
    return Table(f"Measured, tier {tier}", caption, tuple(columns), tuple(rows), tuple(notes))


def changed(experiment: Experiment, record: Record) -> bool:
    """Whether a record's settings are not as declared, but for the name of a method of the caller's own."""
    return bool(record.identity.overrides.keys() - {experiment.own, f"{experiment.own}_sha256"})


def in_order(experiment: Experiment, records: Iterable[Record]) -> list[Record]:
    """Return records by variant as declared, nothing overridden first, then by tier, highest first, then by seed."""
    variants = list(experiment.variants)
    return sorted(
        records,
        key=lambda r: (
            variants.index(r.identity.variant),
            r.identity.row,
            -TIERS.index(r.identity.tier),
            r.identity.seed,
        ),
    )


def _quantities(experiment: Experiment, records: Sequence[Record]) -> Iterator[Quantity]:
    protocols: dict[str, dict[str, None]] = {}
    for record in records:
        for key, measured in record.metrics.items():
            protocols.setdefault(key, {})[measured.protocol] = None
    for name in experiment.metrics:
        for key in (k for k in protocols if split_key(k)[0] == name):
            yield from (Quantity(key, protocol, len(protocols[key]) == 1) for protocol in protocols[key])


def _unit(quantity: Quantity, records: Iterable[Record]) -> str:
    return next(r.metrics[quantity.key].unit for r in records if quantity.key in r.metrics)


def _cell(quantity: Quantity, runs: Sequence[Record], divisor: float) -> str:
    done = [r for r in runs if r.status == "done"]
    values = [v / divisor for v in quantity.values(done)]
    if not values:
        return EMPTY
    interval = mean_interval(values)
    text = number(interval.mean)
    if interval.low is not None and interval.high is not None:
        text = plus_minus(interval.mean, interval.low, interval.high)
    if len(values) < len(done):
        text += f" (n={len(values)})"
    return f"{text} {BESIDE_OTHERS}" if any(quantity.beside_others(run) for run in done) else text


def _statuses(runs: Iterable[Record]) -> str:
    counts = Counter(r.status for r in runs)
    return ", ".join(
        f"{n} {status}" for status, n in sorted(counts.items(), key=lambda c: (c[0] != "done", c[0]))
    )


def _protocol_notes(quantities: Sequence[Quantity]) -> Iterator[str]:
    """One line a protocol; a metric's bare name stands for all its qualifiers where they agree."""
    by_name: dict[str, set[str]] = {}
    for quantity in quantities:
        by_name.setdefault(split_key(quantity.key)[0], set()).add(quantity.protocol)
    lines: dict[str, dict[str, None]] = {}
    for quantity in quantities:
        name = split_key(quantity.key)[0]
        shown = name if len(by_name[name]) == 1 else quantity.key
        if quantity.alone:
            lines.setdefault(quantity.protocol, {})[shown] = None
    yield from (f"{', '.join(keys)}: protocol {protocol}." for protocol, keys in lines.items())


def _sharing_notes(quantities: Sequence[Quantity], records: Sequence[Record]) -> list[str]:
    """Return what the mark of shared times means, with what they shared the machine with; nothing without any."""
    found = {r.shared: None for r in records if any(q.beside_others(r) for q in quantities)}
    reasons = ", ".join(sorted(map(str, found)))
    return [f"{BESIDE_OTHERS}: timed on a shared machine ({reasons}); settles no claim."] if found else []


def failures(experiment: Experiment, records: Iterable[Record]) -> list[Table]:
    """Return the table of runs that did not finish, or nothing."""
    failed = [r for r in in_order(experiment, records) if r.status != "done"]
    if not failed:
        return []
    rows = tuple(
        (
            r.identity.row,
            r.identity.tier,
            str(r.identity.seed),
            r.status,
            EMPTY if r.last_t is None else number(r.last_t),
            EMPTY if r.nfe is None else str(r.nfe),
            r.message or "",
        )
        for r in failed
    )
    columns = (
        Column("variant"), Column("tier"), Column("seed", align="right"), Column("status"),
        Column("last t", align="right"), Column("NFE", align="right"),
        Column("message", align="text", width=0.4),
    )  # fmt: skip
    caption = f"Runs of {experiment.name} that did not finish; none of their numbers is used."
    return [Table("Runs that did not finish", caption, columns, rows)]


def csv_rows(experiment: Experiment, records: Iterable[Record]) -> Iterator[tuple[object, ...]]:
    """Yield every seed's every number, in full precision; a run that measured nothing has one row.

    `shared` says of a time what the run shared the machine with; empty where it ran alone.
    """
    for record in in_order(experiment, records):
        i = record.identity
        head = (i.experiment, i.row, i.tier, i.seed, record.status)
        for key, m in record.metrics.items():
            shared = record.shared if is_time(key) else None
            yield *head, key, m.value, m.unit, m.protocol, m.n, m.se, shared, record.message
        if not record.metrics:
            yield *head, *(None,) * 7, record.message
