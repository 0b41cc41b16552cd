"""Verbs about runs: list, run, status, migrate."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import Folders, Json, end_with, given, say, tell_doubles
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.execution.plan import Job

MOST = 10_000
"""Seeds of one call."""
Patterns = Annotated[
    list[str], typer.Argument(help="`lecture.*`, `neural_ode.mnist/odenet`, ...", metavar="PATTERN...")
]
Tier = Annotated[str, typer.Option(help="smoke, cpu, gpu or paper.")]
Seeds = Annotated[
    int | None, typer.Option(help="Number of seeds: 0, 1, ...; by default what is declared.", min=1, max=MOST)
]
Seed = Annotated[
    list[int] | None,
    typer.Option(help="One exact seed; may be given more than once.", min=0, max=2**63 - 1),
]
Out = Annotated[Path, typer.Option(help="Folder that receives records, checkpoints, models and logs.")]
Jobs = Annotated[int, typer.Option(help="Runs at a time; more than one disturbs timings.", min=1)]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:<n>.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="`key=value`: one setting; may be given more than once.")
]
Alone = Annotated[
    bool,
    typer.Option(
        "--alone", help="Those that claims about time need and that shared the machine, one at a time."
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        help="A method of your own in place of ours, FILE.py:FUNCTION, where the experiment takes one."
    ),
]
Config = Annotated[Path | None, typer.Option(help="TOML file of config overrides, a table each.")]


def list_(as_json: Json = False) -> None:
    """List experiments, their variants and tiers."""
    from bench.registry import registry

    experiments = sorted(registry().values(), key=lambda e: e.name)
    if as_json:
        rows = [
            {"name": e.name, "title": e.title, "variants": list(e.variants), "tiers": list(e.tiers)}
            | {"metrics": list(e.metrics)}
            for e in experiments
        ]
        typer.echo(json.dumps(rows, indent=1))
        return
    for e in experiments:
        say(f"{e.name}  {e.title}")
        say(f"    variants: {', '.join(e.variants)}")
        say(f"    tiers: {', '.join(e.tiers)}")


def run(
    patterns: Patterns,
    tier: Tier = "cpu",
    seeds: Seeds = None,
    seed: Seed = None,
    out: Out = Path("results"),
    jobs: Jobs = 1,
    timeout: Annotated[float | None, typer.Option(help="Seconds a run may take.", min=0.1)] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Time for all of it: 90m, 24h, 1.5h; what settles most claims an hour comes first."
        ),
    ] = None,
    memory: Annotated[
        float | None, typer.Option(help="GiB a run may add once started.", min=0.01, max=2**20)
    ] = None,
    device: Device = "cpu",
    threads: Annotated[
        int | None, typer.Option(help="Threads a run; by default OMP_NUM_THREADS or what is declared.", min=1)
    ] = None,
    settings: Settings = None,
    config: Config = None,
    method: Method = None,
    force: Annotated[bool, typer.Option("--force", help="Repeat runs that have a record.")] = False,
    alone: Alone = False,
    offline: Annotated[bool, typer.Option("--offline", help="Skip runs whose data is not at hand.")] = False,
) -> None:
    """Run what is missing of the experiments that match, one record a run; exit 3 where some could not finish."""
    from bench.campaign.reach import Call
    from bench.campaign.show import left
    from bench.campaign.survey import budgeted, probing_ends, survey
    from bench.execution.executor import Limits, execute, locked, record_lost
    from bench.execution.plan import check_device, plan, prepare_data
    from bench.execution.processes import Terminated
    from bench.execution.progress import Display
    from bench.execution.run import Run

    ends = _ends(budget, force)
    refuse_company(alone, jobs, force)
    check_device(device)
    changes = overrides(patterns, config, settings or [])
    planned = plan(patterns, tier, chosen_seeds(seeds, seed), changes, method)
    with locked(out):
        bad: list[str] = []
        todo = planned if force else lacked(planned, out, device, alone, bad)
        absent = prepare_data(todo, download=not offline)
        for unavailable in absent.values():
            say(f"skipped: {unavailable.reason}", err=True)
        ready = [job for job in todo if not set(job.data_sets) & set(absent)]
        lost = record_lost(todo, absent, out)
        if force:
            for job in ready:
                Run(job.identity, out).forget()
        limit = None if memory is None else int(memory * 2**30)
        limits = Limits(jobs, timeout, limit, device, threads)
        if ends is not None:
            call = Call(tier, planned, todo, jobs, frozenset(absent))
            found = survey(call, out, device, probing_ends(ends), tell)
            ready, held = budgeted(found, ends, jobs)
            limits = replace(limits, budget=held)
        with Display(ready, len(planned) - len(todo), jobs) as display:
            try:
                counts = execute(ready, out, limits, display)
            except KeyboardInterrupt as error:
                say("interrupted; finished records are kept, the same command goes on", err=True)
                raise typer.Exit(128 + error.number if isinstance(error, Terminated) else 130) from None
    say(f"records: {out / 'records'}")
    left_out: Sequence[str] = ()
    if ends is not None:
        call = Call(tier, planned, lacked(planned, out, device, alone), jobs, frozenset(absent))
        found = survey(call, out, device, until=0.0)
        left_out = found.left_out
        say(left(found, call.missing))
    end_with(bad, left_out)
    if lost or any(counts.get(status) for status in ("error", "timeout", "oom")):
        raise typer.Exit(3)


def _ends(budget: str | None, force: bool) -> float | None:
    """Return when a budget that begins now ends, on the clock of `time.monotonic`."""
    from bench.execution.budget import read_length

    if budget is None:
        return None
    if force:
        raise UserError("--budget goes on with what is missing, --force repeats what is there: leave out one")
    return time.monotonic() + read_length(budget)


def refuse_company(alone: bool, jobs: int, force: bool = False) -> None:
    """Refuse `--alone` beside what it excludes.

    Raises:
        UserError: several runs at a time, or all of them.
    """
    if alone and jobs > 1:
        raise UserError(f"--alone makes one run at a time: leave out --jobs {jobs}")
    if alone and force:
        raise UserError("--alone repeats what shared the machine, --force repeats all: leave out one")


def lacked(
    jobs: Sequence[Job], out: Path, device: str, alone: bool, bad: list[str] | None = None
) -> list[Job]:
    """Return the jobs without a record, or those that claims about time need once more, alone."""
    from bench.campaign.alone import alone as shared
    from bench.execution.plan import missing

    return shared(jobs, out, device) if alone else missing(jobs, out, device, bad)


def chosen_seeds(number: int | None, exact: list[int] | None) -> list[int] | None:
    """Return the seeds that are asked for; None for what is declared."""
    if exact:
        return list(dict.fromkeys(exact))
    return None if number is None else list(range(number))


def tell(line: str) -> None:
    """Say what goes on."""
    say(line, err=True)


def overrides(
    patterns: list[str], config: Path | None, settings: list[str]
) -> dict[str, Mapping[str, Any]] | None:
    """Return what a file and `--set` give in place of declared settings, by experiment.

    Raises:
        UserError: a malformed setting, or settings of several experiments at once.
    """
    from bench.registry import read_overrides, select
    from bench.settings import flat, read_settings

    tables: dict[str, Mapping[str, Any]] = dict(read_overrides(config)) if config else {}
    if settings:
        names = {experiment.name for experiment, _ in select(patterns)}
        if len(names) > 1:
            raise UserError(
                f"--set is for one experiment at a time, these are {', '.join(sorted(names))}; use --config"
            )
        (name,) = names
        tables[name] = {**flat(tables.get(name, {})), **flat(read_settings(settings))}
    return tables or None


def status(folders: Folders = None, as_json: Json = False) -> None:
    """List records that are not today's, why, and what renewing them costs."""
    from bench.record import find
    from bench.report.status import outdated, summary

    found = find(given(folders))
    rows = outdated(found.records)
    if as_json:
        typer.echo(json.dumps([row._asdict() for row in rows], indent=1))
    else:
        for line in summary(rows):
            say(line)
    tell_doubles(found)
    end_with(found.bad)


def migrate(
    folder: Annotated[Path, typer.Argument(help="Folder with records of schema 1.")],
) -> None:
    """Rewrite records of schema 1 as records of today's schema; what they measured stays as it is."""
    from bench.execution.executor import locked
    from bench.migrate import migrate_folder

    if not folder.is_dir():
        raise UserError(f"no folder {folder}; give a folder that `cnf-bench run --out` wrote")
    with locked(folder):
        done, bad = migrate_folder(folder)
    say(f"{done} records migrated in {folder}")
    end_with(bad)
