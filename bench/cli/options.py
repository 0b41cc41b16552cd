"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.errors import UserError

Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
Folders = Annotated[
    list[Path] | None, typer.Argument(help="Folders with records; by default reports/ and results/.")
]


def given(folders: list[Path] | None) -> list[Path]:
    """Return the folders a person means.

    Raises:
        UserError: there are none.
    """
    found = folders or [folder for folder in (Path("reports"), Path("results")) if folder.is_dir()]
    if not found:
        raise UserError("no records: neither reports/ nor results/ exists here; run `cnf-bench run` first")
    return found
