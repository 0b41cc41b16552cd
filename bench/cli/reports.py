"""Verbs that read records: report, claims, show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import Folders, Json, end_with, given, say, tell_doubles, tell_skipped


def report(
    folders: Folders = None,
    out: Annotated[Path, typer.Option(help="Folder that receives the report.")] = Path("reports"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if it would change.")] = False,
) -> None:
    """Write tables, figures and one HTML page from records; trains nothing."""
    from bench.record import find
    from bench.report.build import publish
    from bench.report.content import collect

    found = find(given(folders))
    made = collect(found.records, found.hidden)
    if check:
        from bench.verify import stale_files

        stale = stale_files(made, out)
        for name in stale:
            say(f"would change: {out / name}")
        tell_doubles(found)
        if stale:
            tell_skipped(found.bad, made.bad)
            raise typer.Exit(1)
    else:
        say(publish(made, out))
        tell_doubles(found)
    end_with(found.bad, made.bad)


def claims(
    folders: Folders = None,
    as_json: Json = False,
) -> None:
    """Print every documented number with its verdict."""
    from bench.claim import find_claims
    from bench.record import find
    from bench.verdict import judge_all, to_json

    found = find(given(folders))
    documented, left_out = find_claims()
    verdicts = judge_all(documented, found.records)
    if as_json:
        typer.echo(json.dumps([to_json(v) for v in verdicts], indent=1))
    for v in () if as_json else verdicts:
        measured = "" if v.measured is None else f"  measured {v.measured.mean:.4g} {v.claim.unit}".rstrip()
        say(f"{v.verdict:15} {v.claim.id}: {v.claim.text} [{v.claim.documented}]{measured}")
    tell_doubles(found)
    end_with(found.bad, left_out)


def show(
    run: Annotated[str, typer.Argument(help="A record's path, or <out>/<start of the run id>.")],
) -> None:
    """Print one record."""
    from rich.console import Console

    from bench.models import find_record
    from bench.record import read
    from bench.report.show import show as render

    Console().print(render(read(find_record(run))))
