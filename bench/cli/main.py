"""The command line: one thin function a verb. A fault of the input ends in one line and exit code 2."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.data import app as data_app
from bench.errors import UserError

app = typer.Typer(
    help="Benchmarks and paper replications for continuous-time generative models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data", help="List, fetch and check data sets.")

Out = Annotated[Path, typer.Option(help="Folder that receives records, checkpoints, models and logs.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List experiments, their variants and tiers."""
    from bench.experiment import registry

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


@app.command()
def run(
    patterns: Annotated[list[str], typer.Argument(help="`lecture.*`, `neural_ode.mnist/odenet`, ...")],
    tier: Annotated[str, typer.Option(help="smoke, cpu, gpu or paper.")] = "cpu",
    seeds: Annotated[int, typer.Option(help="Number of seeds: 0, 1, ...", min=1)] = 3,
    seed: Annotated[
        list[int] | None, typer.Option(help="One exact seed; may be given more than once.")
    ] = None,
    out: Out = Path("results"),
    jobs: Annotated[int, typer.Option(help="Runs at a time; more than one disturbs timings.", min=1)] = 1,
    timeout: Annotated[float | None, typer.Option(help="Seconds a run may take.", min=0.1)] = None,
    memory: Annotated[float | None, typer.Option(help="GiB a run may add once started.", min=0.01)] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:<n>.")] = "cpu",
    config: Annotated[Path | None, typer.Option(help="TOML file of config overrides, a table each.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Repeat runs that have a record.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Skip runs whose data is not at hand.")] = False,
) -> None:
    """Run what is missing of the experiments that match, one record a run; exit 3 where some could not finish."""
    from bench.execution.executor import Limits, execute, locked
    from bench.execution.plan import check_device, missing, plan, prepare_data
    from bench.execution.progress import Display
    from bench.execution.worker import Run
    from bench.experiment import read_overrides

    check_device(device)
    wanted = list(dict.fromkeys(seed or range(seeds)))
    planned = plan(patterns, tier, wanted, read_overrides(config) if config else None)
    with locked(out):
        todo = planned if force else missing(planned, out, device)
        absent = prepare_data(todo, download=not offline)
        ready = [job for job in todo if not set(job.data_sets) & set(absent)]
        for reason in absent.values():
            typer.echo(f"skipped: {reason}", err=True)
        if force:
            for job in ready:
                Run(job.identity, out).forget()
        limit = None if memory is None else int(memory * 2**30)
        with Display(ready, len(planned) - len(todo), jobs) as display:
            try:
                counts = execute(ready, out, Limits(jobs, timeout, limit, device), display)
            except KeyboardInterrupt:
                typer.echo("interrupted; finished records are kept, the same command goes on", err=True)
                raise typer.Exit(130) from None
    typer.echo(f"records: {out / 'records'}")
    if any(counts.get(status) for status in ("error", "timeout", "oom")):
        raise typer.Exit(3)


def _given(folders: list[Path] | None) -> list[Path]:
    given = folders or [folder for folder in (Path("reports"), Path("results")) if folder.is_dir()]
    if not given:
        raise UserError("no records: neither reports/ nor results/ exists here; run `cnf-bench run` first")
    return given


@app.command()
def report(
    folders: Annotated[list[Path] | None, typer.Argument(help="Folders with records.")] = None,
    out: Annotated[Path, typer.Option(help="Folder that receives the report.")] = Path("reports"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if it would change.")] = False,
) -> None:
    """Write tables, figures and one HTML page from records; trains nothing."""
    from bench.report.build import build

    given = _given(folders)
    if check:
        from bench.verify import stale_files

        stale = stale_files(given, out)
        for name in stale:
            typer.echo(f"would change: {out / name}")
        raise typer.Exit(1 if stale else 0)
    typer.echo(build(given, out))


@app.command()
def claims(
    folders: Annotated[list[Path] | None, typer.Argument(help="Folders with records.")] = None,
    as_json: Json = False,
) -> None:
    """Print every documented number with its verdict."""
    from bench.claim import judge_all, load_claims, to_json
    from bench.record import read_all

    verdicts = judge_all(load_claims(), read_all(_given(folders)))
    if as_json:
        typer.echo(json.dumps([to_json(v) for v in verdicts], indent=1))
        return
    for v in verdicts:
        measured = "" if v.measured is None else f"  measured {v.measured.mean:.4g} {v.claim.unit}".rstrip()
        typer.echo(f"{v.verdict:15} {v.claim.id}: {v.claim.text} [{v.claim.documented}]{measured}")


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A record's path, or <out>/<start of the run id>.")],
) -> None:
    """Print one record."""
    from rich.console import Console

    from bench.models import find_record
    from bench.record import read
    from bench.report.show import show as render

    Console().print(render(read(find_record(run))))


def main() -> None:
    """Run the command line."""
    try:
        app()
    except UserError as error:
        print(f"cnf-bench: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
