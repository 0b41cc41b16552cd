"""Verb compare."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import Json, given, say


def compare(
    first: Annotated[str, typer.Argument(help="experiment/variant, or a folder with records.")],
    second: Annotated[str, typer.Argument(help="Likewise, of the same kind.")],
    folders: Annotated[
        list[Path] | None,
        typer.Option("--in", help="Folder with the records of variants; may be given again."),
    ] = None,
    tier: Annotated[str, typer.Option(help="smoke, cpu, gpu or paper.")] = "cpu",
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", help="`nll`, `nfe*`, ...; may be given again.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two variants or two folders, paired over seeds; exit 1 where the second is worse in anything."""
    from bench.compare import compare as compared
    from bench.report.rounding import with_interval
    from bench.report.table import number

    are_folders = Path(first).is_dir() and Path(second).is_dir()
    found = compared(first, second, [] if are_folders else given(folders), tier, metrics or [])
    if as_json:
        typer.echo(json.dumps(asdict(found) | {"worse": found.worse}, indent=1))
    for d in () if as_json else found.differences:
        middle, low, high = with_interval(d.difference.mean, d.difference.low, d.difference.high)
        change = f"{number(d.first.mean)} -> {number(d.second.mean)} {d.unit}".rstrip()
        told = d.verdict or "not told apart"
        say(f"{told:15} {d.row} {d.key}: {change}, difference {middle} [{low}, {high}], n = {d.difference.n}")
    for line in () if as_json else found.left_out:
        say(f"not compared: {line}", err=True)
    if found.worse:
        raise typer.Exit(1)
