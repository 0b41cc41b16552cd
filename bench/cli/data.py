"""The verbs `cnf-bench data list|fetch|check`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from bench.cli.options import say
from bench.data import registry
from bench.data.registry import BAD, DataSet
from bench.errors import UserError
from bench.text import plain

app = typer.Typer(help="List, download and check the data sets.", no_args_is_help=True)


@app.command("list")
def list_sets(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array of objects.")] = False,
) -> None:
    """List the data sets and where they are; content is not verified (see `check`)."""
    rows = [_row(registry.get(name)) for name in registry.names()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = _table("name", "title", "state", "size")
    for row in rows:
        where = f"{row['state']} in {', '.join(row['folders'])}" if row["folders"] else row["state"]
        table.add_row(
            row["name"], row["title"], _shown(where), decimal(row["bytes"]) if row["bytes"] else "-"
        )
    Console().print(table)


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Data sets to download.")],
) -> None:
    """Download data sets into the cache, unless they are there or in the folder CNF_BENCH_DATA."""
    faults = []
    for data_set in [registry.get(name) for name in names]:
        try:
            places = data_set.fetch()
        except UserError as error:  # the other sets are fetched all the same
            faults.append(str(error))
            continue
        for place in places.values():
            say(f"{data_set.name}: {place}")
        if data_set.bundled:
            say(f"{data_set.name}: bundled with a dependency, nothing to download")
    for fault in faults:
        say(f"cnf-bench: {fault}", err=True)
    if faults:
        raise typer.Exit(2)


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all.")] = None,
) -> None:
    """Verify the checksum of every file; exit with 2 if one is wrong or can not be read."""
    sets = [registry.get(name) for name in names or registry.names()]
    found = [line for data_set in sets for line in data_set.check() or [(data_set.name, "bundled")]]
    table = _table("file", "status")
    for path, status in found:
        table.add_row(_shown(path), _shown(status))
    Console().print(table)
    if any(status in BAD for _, status in found):
        raise typer.Exit(2)


def _table(*headings: str) -> Table:
    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")  # never shorten a path
    return table


def _shown(text: str) -> Text:
    """Return text of a cell as it is: no control sequence, no markup."""
    return Text(plain(text))


def _row(data_set: DataSet) -> dict[str, Any]:
    """State: `bundled`, `found`, `incomplete` (some files only) or `absent`; size in bytes, 0 if unknown."""
    places = [place for file in data_set.files if (place := file.find())]
    states = {0: "absent", len(data_set.files): "bundled" if data_set.bundled else "found"}
    return {
        "name": data_set.name,
        "title": data_set.title,
        "terms": data_set.terms,
        "state": states.get(len(places), "incomplete"),
        "folders": sorted({str(place.parent) for place in places}),
        "bytes": sum(file.bytes or 0 for file in data_set.files),
    }
