"""The suite's own verbs of the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.text import plain


def check(
    method: Annotated[str, typer.Argument(help="FILE.py:FUNCTION, as `cnf-bench run --method` takes it.")],
) -> None:
    """Try a method of your own on what the suite relies on; exit 1 where something is wrong."""
    from replications.suite.check import faults

    found = faults(method)
    for line in found:
        typer.echo(plain(line))
    if found:
        raise typer.Exit(1)
    typer.echo(f"{plain(method)}: all is well")
