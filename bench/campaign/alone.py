"""Runs to repeat with the machine to themselves: those whose times claims need and that shared it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.campaign.reach import needs
from bench.campaign.survey import COMMITTED
from bench.claim import find_claims
from bench.execution.plan import Job, device_kind
from bench.identity import is_current
from bench.record import SETTLED, Record, find
from bench.verdict import SHARED, judge_all


def alone(jobs: Iterable[Job], out: Path, device: str) -> list[Job]:
    """Return the jobs that claims about time lack, as their records are from a shared machine or are not there.

    Args:
        jobs: among which.
        out: their folder; the records of `COMMITTED` count too.
        device: where they are to be made.
    """
    folders = [folder for folder in dict.fromkeys((out, *COMMITTED)) if folder.is_dir()]
    records = [record for record in find(folders).records if is_current(record.identity)]
    verdicts = judge_all(find_claims()[0], records)
    wanted = {pair for v in verdicts if v.cause == SHARED for pair in needs(v.claim)}
    made = {r.identity.run for r in records if _was_alone(r, device)}
    return [
        job
        for job in jobs
        if (job.identity.experiment, job.identity.variant) in wanted
        and not job.identity.overrides
        and job.identity.run not in made
    ]


def _was_alone(record: Record, device: str) -> bool:
    kind = device_kind(str(record.environment.get("device", device)))
    settled = record.status in SETTLED and record.identity.renewed
    return settled and record.shared is None and kind == device_kind(device)
