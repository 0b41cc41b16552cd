"""What a report says, before it is written: records joined with the present definitions and claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.claim import find_claims
from bench.experiment import Experiment
from bench.identity import is_current
from bench.record import Record
from bench.registry import registry
from bench.report import doubles, measured
from bench.report.costs import Spent, spent
from bench.report.doubles import Hidden
from bench.report.figures import Drawn, draw_all
from bench.report.table import Table
from bench.verdict import Verdict, judge_all


@dataclass(frozen=True)
class Section:
    """What the report says of one experiment."""

    experiment: Experiment
    records: Sequence[Record]
    tables: Sequence[Table]
    figures: Sequence[Drawn]


@dataclass(frozen=True)
class Report:
    """Everything the files are made of.

    Args:
        verdicts: one for every claim.
        sections: experiments with current records above tier smoke, by name.
        absent: experiments without any such record, by name.
        smoke: current records of tier smoke; they fill no table of results.
        stale: records that no present definition with its declared config would make again; not used.
        doubles: where records of one run differ; the first is used.
        costs: what each experiment cost and settled at each tier.
        bad: a line for each claims file and each figure that is left out.
    """

    verdicts: Sequence[Verdict]
    sections: Sequence[Section]
    absent: Sequence[Experiment]
    smoke: Sequence[Record]
    stale: Sequence[Record]
    doubles: Table | None
    costs: Sequence[Spent]
    bad: Sequence[str] = ()


def collect(records: Sequence[Record], hidden: Hidden = ()) -> Report:
    """Join records with the present definitions and claims."""
    present = [r for r in records if is_current(r.identity)]
    used: dict[str, list[Record]] = {}
    for record in present:
        if record.identity.tier != "smoke":
            used.setdefault(record.identity.experiment, []).append(record)
    known = sorted(registry().values(), key=lambda e: e.name)
    claims, bad = find_claims()
    verdicts = judge_all(claims, present)
    sections = [_section(e, used[e.name], bad) for e in known if e.name in used]
    return Report(
        verdicts=verdicts,
        sections=sections,
        absent=[e for e in known if e.name not in used],
        smoke=[r for r in present if r.identity.tier == "smoke"],
        stale=sorted(
            (r for r in records if not is_current(r.identity)),
            key=lambda r: (r.identity.label, r.identity.id),
        ),
        doubles=doubles.table(hidden),
        costs=spent(known, present, verdicts),
        bad=bad,
    )


def _section(experiment: Experiment, records: Sequence[Record], bad: list[str]) -> Section:
    tables = measured.tables(experiment, records, bad)
    return Section(experiment, records, tables, list(draw_all(experiment, records, bad)))
