"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bench.errors import UserError
from bench.record import Found
from bench.text import plain

Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
Folders = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Folders with records, the one that counts first; by default results/, then reports/."
    ),
]


def say(text: object, err: bool = False) -> None:
    """Print one line, harmless to a terminal; whatever a verb prints goes through here, but for JSON and tables."""
    typer.echo(plain(str(text)), err=err)


def given(folders: list[Path] | None) -> list[Path]:
    """Return the folders a person means.

    Raises:
        UserError: there are none.
    """
    found = folders or [folder for folder in (Path("results"), Path("reports")) if folder.is_dir()]
    if not found:
        raise UserError("no records: neither reports/ nor results/ exists here; run `cnf-bench run` first")
    return found


def tell_doubles(found: Found) -> None:
    """Say which runs have several records, which is shown, and where the numbers of their methods differ."""
    from bench.report.doubles import differences, origins

    for line in origins(found.hidden):
        say(line, err=True)
    for line in differences(found.hidden):
        say(line, err=True)
    if found.superseded:
        say(
            f"{len(found.superseded)} records with the random streams of schema 1 are superseded and not used; "
            "`cnf-bench doctor <folder> --superseded` lists them, --fix moves them aside",
            err=True,
        )


def end_with(bad: Sequence[str], left_out: Sequence[str] = ()) -> None:
    """Name what was skipped, and end with exit code 3 where there is anything.

    Args:
        bad: what is wrong in a folder of records.
        left_out: what else is left out: claims files, figures.
    """
    tell_skipped(bad, left_out)
    if bad or left_out:
        raise typer.Exit(3)


def tell_skipped(bad: Sequence[str], left_out: Sequence[str] = ()) -> None:
    """Name what was skipped; see `end_with`."""
    for line in (*left_out, *bad):
        say(f"skipped: {line}", err=True)
    if bad:
        say(f"{len(bad)} skipped; `cnf-bench doctor <folder>` lists them and moves them aside", err=True)
