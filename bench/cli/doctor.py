"""The verb doctor: what is wrong in a folder of records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import say


def doctor(
    folder: Annotated[Path, typer.Argument(help="A folder that `cnf-bench run --out` wrote.")],
    fix: Annotated[bool, typer.Option("--fix", help="Move it aside, to <folder>/quarantine.")] = False,
    move_to: Annotated[Path | None, typer.Option(help="Move it aside, below this folder.")] = None,
    superseded: Annotated[
        bool,
        typer.Option("--superseded", help="List, in place of faults, records that a fresh one has replaced."),
    ] = False,
) -> None:
    """List what is wrong in a folder; exit 3 where something is and stays. Nothing is ever deleted."""
    from bench import doctor as look
    from bench.doctor import QUARANTINE, move_aside
    from bench.execution.executor import locked

    findings = look.superseded(folder) if superseded else look.examine(folder)
    for path, what, _ in findings:
        say(f"{path}: {what}")
    if not findings:
        say(f"{folder}: nothing is {'superseded' if superseded else 'wrong'}")
    elif fix or move_to:
        target = move_to or folder / QUARANTINE
        with locked(folder):
            moved = move_aside(folder, findings, target)
        say(f"{len(moved)} moved to {target}")
    else:
        say(f"{len(findings)} found; --fix moves them to {folder / QUARANTINE}", err=True)
        raise typer.Exit(3)
