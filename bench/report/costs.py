"""What the records cost, what they settled, and what is left: one row for each experiment and tier."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bench.campaign.cost import Costs
from bench.campaign.order import total
from bench.claim import VERDICTS
from bench.execution.plan import Job
from bench.experiment import TIERS, Experiment
from bench.identity import identify
from bench.length import least_tier
from bench.record import SETTLED, Record
from bench.report.table import Column, Table
from bench.verdict import DECISIVE, Verdict

CSV_HEADER = (
    "experiment", "tier", "runs", "core_hours", "claims", *(v.replace(" ", "_") for v in VERDICTS[:6]),
    "runs_left", "hours_left",
)  # fmt: skip
NOTES = (
    "core hours: duration times threads, of all recorded runs of today's declarations, failed ones too.",
    "claims: those that a run of this row settles, or that need its tier; open: inconclusive, scaled-down, not run.",
    "left: declared runs without a finished record of today's random streams; their hours follow from the records of "
    "their variant, at another tier scaled by the iterations where nothing else differs; + where some are unknown.",
)


@dataclass(frozen=True)
class Spent:
    """One row: what an experiment cost and settled at a tier.

    Args:
        experiment: its name.
        tier: one of `TIERS`.
        runs: recorded.
        seconds: of these, on all of their threads.
        verdicts: how many claims have which.
        runs_left: declared and not finished.
        seconds_left: of these, as far as it is known.
        known: whether it is known of all of them.
    """

    experiment: str
    tier: str
    runs: int
    seconds: float
    verdicts: Counter[str]
    runs_left: int
    seconds_left: float
    known: bool

    @property
    def claims(self) -> int:
        """How many claims the row has."""
        return sum(self.verdicts.values())

    @property
    def open(self) -> int:
        """How many of them are not decided."""
        return self.claims - sum(self.verdicts[name] for name in DECISIVE)


def spent(
    experiments: Sequence[Experiment], records: Sequence[Record], verdicts: Sequence[Verdict]
) -> list[Spent]:
    """Return a row for each experiment and tier above smoke that has records or claims.

    Args:
        experiments: all there are, by name.
        records: current ones, of any tier.
        verdicts: one for every claim.
    """
    costs = Costs(records)
    rows = []
    for experiment in experiments:
        for tier in TIERS[1:]:
            made = [r for r in records if (r.identity.experiment, r.identity.tier) == (experiment.name, tier)]
            found = Counter(
                v.verdict
                for v in verdicts
                if v.claim.experiment == experiment.name and not v.claim.verdict and _tier(v) == tier
            )
            if made or found:
                rows.append(_row(experiment, tier, made, found, costs))
    return rows


def _row(
    experiment: Experiment, tier: str, made: Sequence[Record], found: Counter[str], costs: Costs
) -> Spent:
    done = {r.identity.run for r in made if r.status in SETTLED and r.identity.renewed}
    declared = [
        identify(experiment, v, tier, 0)
        for v in experiment.variants
        if experiment.offers(v, tier) and not experiment.awaits(v)
    ]
    seeds = range(experiment.all_seeds(tier))
    runs = [replace(identity, seed=seed) for identity in declared for seed in seeds]
    left = [costs.left(Job(experiment, identity)) for identity in runs if identity.run not in done]
    known = [cost for cost in left if cost.seconds is not None]
    seconds = math.fsum(r.duration_s * (r.environment.get("threads") or 1) for r in made)
    rest = total(known).seconds or 0.0
    return Spent(experiment.name, tier, len(made), seconds, found, len(left), rest, len(known) == len(left))


def _tier(verdict: Verdict) -> str:
    """Return the tier that settled a claim, or that can."""
    if verdict.verdict in DECISIVE:
        return verdict.tier
    return max((verdict.tier or TIERS[0], least_tier(verdict.claim)), key=TIERS.index)


def table(rows: Sequence[Spent]) -> Table:
    """Return the rows and their sum as a table."""
    columns = (
        Column("experiment"), Column("tier"), *(Column(head, align="right") for head in (
            "runs", "core hours", "claims", "reproduced", "not reproduced", "open", "runs left", "hours left")),
    )  # fmt: skip
    sums = _sum(rows)
    cells = tuple(map(_cells, (*rows, sums)))
    return Table("Cost", "What the runs cost and settled, and what is left.", columns, cells, NOTES)


def _sum(rows: Sequence[Spent]) -> Spent:
    verdicts: Counter[str] = Counter()
    for row in rows:
        verdicts.update(row.verdicts)
    return Spent(
        "all",
        "",
        sum(row.runs for row in rows),
        sum(row.seconds for row in rows),
        verdicts,
        sum(row.runs_left for row in rows),
        sum(row.seconds_left for row in rows),
        all(row.known for row in rows),
    )


def _cells(row: Spent) -> tuple[str, ...]:
    held = row.verdicts["reproduced"] + row.verdicts["exceeded"]
    counts = (row.claims, held, row.verdicts["not reproduced"], row.open, row.runs_left)
    return (
        row.experiment,
        row.tier,
        str(row.runs),
        _hours(row.seconds),
        *map(str, counts),
        _left(row),
    )


def _left(row: Spent) -> str:
    """Return the hours that are left, `+` where more are unknown, and `unknown` where all are."""
    if row.known:
        return _hours(row.seconds_left)
    return f"{_hours(row.seconds_left)} +" if row.seconds_left else "unknown"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}"


def csv_rows(rows: Sequence[Spent]) -> Iterator[list[object]]:
    """Yield the rows with every verdict, hours in full precision; `hours_left` is empty where some are unknown."""
    for row in rows:
        counts = [row.verdicts[name] for name in VERDICTS[:6]]
        left = row.seconds_left / 3600 if row.known else None
        yield [
            row.experiment, row.tier, row.runs, row.seconds / 3600, row.claims, *counts, row.runs_left, left,
        ]  # fmt: skip
