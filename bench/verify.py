"""Check committed results: is the report what its records give, and do the records repeat on this machine?"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import record as records
from bench.data import registry as data
from bench.errors import UserError
from bench.execution.executor import Limits, execute
from bench.execution.plan import Job
from bench.execution.progress import Display
from bench.identity import is_current
from bench.metrics.catalogue import repeats
from bench.record import Record
from bench.registry import registry
from bench.report import manifest
from bench.report.build import publish
from bench.report.content import Report, collect
from bench.text import plain


def stale_files(report: Report, out: Path) -> list[str]:
    """Return the files below a folder that differ from a report."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        publish(report, fresh)
        names = {p.relative_to(fresh) for p in fresh.rglob("*") if p.is_file()}
        names |= {Path(name) for name in manifest.read(out)}
        return sorted(str(name) for name in names if _content(fresh / name) != _content(out / name))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def repeatable(found: Iterable[Record], seconds: float) -> list[Record]:
    """Return one short, finished, current record an experiment and variant, of those whose data is at hand."""
    chosen: dict[tuple[str, str], Record] = {}
    for record in sorted(found, key=lambda r: r.identity.seed):
        identity = record.identity
        usable = record.status == "done" and record.duration_s <= seconds and is_current(identity)
        if usable and (identity.experiment, identity.variant) not in chosen and _has_data(record):
            chosen[identity.experiment, identity.variant] = record
    return list(chosen.values())


def _has_data(record: Record) -> bool:
    job = Job(registry()[record.identity.experiment], record.identity)
    return all(data.get(name).locate() is not None for name in job.data_sets)


def deviations(committed: Record, repeated: Record, tolerance: float) -> list[str]:
    """Return one line a metric of the method that did not repeat within a relative tolerance."""
    lines = []
    for key, before in committed.metrics.items():
        if not repeats(key):
            continue
        now = repeated.value(key)
        if now is None or not math.isclose(now, before.value, rel_tol=tolerance, abs_tol=1e-9):
            lines.append(f"{committed.identity.label}: {key} was {before.value:.6g}, now {now}")
    return lines


def repeat(chosen: Sequence[Record], tolerance: float) -> list[str]:
    """Run records again in a scratch folder and return what did not repeat."""
    jobs = [Job(registry()[r.identity.experiment], r.identity) for r in chosen]
    with tempfile.TemporaryDirectory() as scratch, Display(jobs, kept=0) as display:
        execute(jobs, Path(scratch), Limits(), display)
        repeated = {r.identity.id: r for r in records.read_all([Path(scratch)])}
    return [line for r in chosen for line in deviations(r, repeated[r.identity.id], tolerance)]


def main() -> int:
    """Check `reports/`; return 0 where everything holds, 1 where not."""
    parser = argparse.ArgumentParser(prog="python -m bench.verify", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("reports"))
    parser.add_argument("--seconds", type=float, default=30.0, help="repeat only runs that took less")
    parser.add_argument("--tolerance", type=float, default=0.05, help="relative deviation allowed")
    options = parser.parse_args()
    found = records.find([options.folder])
    report = collect(found.records, found.hidden)
    stale = stale_files(report, options.folder)
    for line in report.bad:
        print(plain(f"skipped: {line}"))
    for name in stale:
        print(plain(f"differs from what the records give: {options.folder / name}"))
    chosen = repeatable(records.read_all([options.folder]), options.seconds)
    moved = repeat(chosen, options.tolerance)
    for line in moved:
        print(plain(line))
    print(f"report: {len(stale)} stale files; {len(chosen)} records repeated, {len(moved)} metrics moved")
    return 1 if stale or moved else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        print(plain(f"verify: {error}"), file=sys.stderr)
        sys.exit(2)
