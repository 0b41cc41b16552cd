"""Verbs about runs: list, run, status, migrate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.options import Folders, Json, end_with, given, tell_doubles
from bench.errors import UserError
from bench.text import plain

MOST = 10_000
"""Seeds of one call."""
Out = Annotated[Path, typer.Option(help="Folder that receives records, checkpoints, models and logs.")]


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
        typer.echo(
            f"{e.name}  {e.title}\n    variants: {', '.join(e.variants)}\n    tiers: {', '.join(e.tiers)}"
        )


def run(
    patterns: Annotated[list[str], typer.Argument(help="`lecture.*`, `neural_ode.mnist/odenet`, ...")],
    tier: Annotated[str, typer.Option(help="smoke, cpu, gpu or paper.")] = "cpu",
    seeds: Annotated[
        int | None,
        typer.Option(help="Number of seeds: 0, 1, ...; by default what is declared.", min=1, max=MOST),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(help="One exact seed; may be given more than once.", min=0, max=2**63 - 1),
    ] = None,
    out: Out = Path("results"),
    jobs: Annotated[int, typer.Option(help="Runs at a time; more than one disturbs timings.", min=1)] = 1,
    timeout: Annotated[float | None, typer.Option(help="Seconds a run may take.", min=0.1)] = None,
    memory: Annotated[
        float | None, typer.Option(help="GiB a run may add once started.", min=0.01, max=2**20)
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:<n>.")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(help="Threads a run; by default OMP_NUM_THREADS or what is declared.", min=1)
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="`key=value`: one setting; may be given more than once.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of config overrides, a table each.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Repeat runs that have a record.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Skip runs whose data is not at hand.")] = False,
) -> None:
    """Run what is missing of the experiments that match, one record a run; exit 3 where some could not finish."""
    from bench.execution.executor import Limits, execute, locked, record_lost
    from bench.execution.plan import check_device, missing, plan, prepare_data
    from bench.execution.processes import Terminated
    from bench.execution.progress import Display
    from bench.execution.run import Run

    check_device(device)
    wanted = list(dict.fromkeys(seed)) if seed else None if seeds is None else list(range(seeds))
    planned = plan(patterns, tier, wanted, overrides(patterns, config, settings or []))
    with locked(out):
        bad: list[str] = []
        todo = planned if force else missing(planned, out, device, bad)
        absent = prepare_data(todo, download=not offline)
        for unavailable in absent.values():
            typer.echo(f"skipped: {plain(unavailable.reason)}", err=True)
        ready = [job for job in todo if not set(job.data_sets) & set(absent)]
        lost = record_lost(todo, absent, out)
        if force:
            for job in ready:
                Run(job.identity, out).forget()
        limit = None if memory is None else int(memory * 2**30)
        with Display(ready, len(planned) - len(todo), jobs) as display:
            try:
                counts = execute(ready, out, Limits(jobs, timeout, limit, device, threads), display)
            except KeyboardInterrupt as error:
                typer.echo("interrupted; finished records are kept, the same command goes on", err=True)
                raise typer.Exit(128 + error.number if isinstance(error, Terminated) else 130) from None
    typer.echo(f"records: {out / 'records'}")
    end_with(bad)
    if lost or any(counts.get(status) for status in ("error", "timeout", "oom")):
        raise typer.Exit(3)


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
            typer.echo(plain(line))
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
    typer.echo(f"{done} records migrated in {folder}")
    end_with(bad)
