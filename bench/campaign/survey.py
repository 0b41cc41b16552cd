"""What a call's runs would cost and settle: its units in order, and the claims beyond it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.campaign.cost import Cost, Costs
from bench.campaign.order import Unit, in_turn, total, units, within
from bench.campaign.probe import Probe
from bench.campaign.reach import Call, Reach, reach
from bench.claim import find_claims
from bench.execution.budget import Budget
from bench.execution.plan import Job
from bench.identity import is_current
from bench.record import find
from bench.verdict import judge_all

COMMITTED = (Path("results"), Path("reports"))
"""Folders whose records count beside those of the call's own."""


@dataclass(frozen=True)
class Survey:
    """What a call's missing runs cost and settle.

    Args:
        units: of the runs whose data is at hand, in order.
        reach: the open claims that the call can settle, and the others.
        costs: of its runs.
        left_out: a line for each claims file that is left out.
    """

    units: Sequence[Unit]
    reach: Reach
    costs: Costs
    left_out: Sequence[str] = ()

    def left(self, jobs: Iterable[Job]) -> Cost:
        """Return what some of the runs cost, those of unknown cost left out of the sum."""
        known = [c for c in map(self.costs.left, jobs) if c.seconds is not None]
        return total(known)


def survey(call: Call, out: Path, device: str, until: float, tell: Callable[[str], None] = print) -> Survey:
    """Return what a call's missing runs cost and settle, given what is recorded.

    Args:
        call: the runs.
        out: their folder; the records of `COMMITTED` count too.
        device: where they are to be made.
        until: short runs are timed, where no record tells the cost, until then on the clock of `time.monotonic`.
        tell: hears of each of these.
    """
    folders = [folder for folder in dict.fromkeys((out, *COMMITTED)) if folder.is_dir()]
    records = [record for record in find(folders).records if is_current(record.identity)]
    claims, left_out = find_claims()
    found = reach(judge_all(claims, records), call)
    costs = Costs(records, device, Probe(out, device, until, tell))
    ready = [job for job in call.missing if not call.absent & set(job.data_sets)]
    return Survey(units(ready, found.settled_by, costs.left), found, costs, left_out)


def probing_ends(ends: float) -> float:
    """Return until when a call that ends at a time may look for costs: a quarter of its time."""
    now = time.monotonic()
    return now + (ends - now) / 4


def budgeted(found: Survey, ends: float, jobs: int) -> tuple[list[Job], Budget]:
    """Return the runs of a call that ends at a time, in order, and its budget; see `in_turn`."""
    chosen = in_turn(found.units, jobs * (ends - time.monotonic()))
    costs = {job.identity.run: found.costs.left(job).seconds for job in chosen}
    return chosen, Budget(ends, {run: seconds for run, seconds in costs.items() if seconds is not None})


def to_json(found: Survey, seconds: float | None) -> dict[str, Any]:
    """Return a survey as JSON-able data: the stable output of `cnf-bench plan --json`."""
    fits = within(found.units, float("inf") if seconds is None else seconds)
    return {
        "budget_s": seconds,
        "units": [
            {
                "runs": [f"{experiment}/{variant}" for experiment, variant in unit.variants],
                "count": len(unit.jobs),
                "claims": list(unit.claims),
                "seconds": unit.seconds,
                "source": unit.source,
                "within": fit,
            }
            for unit, fit in zip(found.units, fits, strict=True)
        ],
        "beyond": {reason: list(ids) for reason, ids in found.reach.beyond.items()},
    }
