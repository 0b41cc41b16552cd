"""The command line: one thin function a verb. A fault of the input ends in one line and exit code 2."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sys

import typer

from bench.cli import campaign, data, reports, runs
from bench.cli.compare import compare
from bench.cli.doctor import doctor
from bench.errors import UserError
from bench.registry import left_out
from bench.text import plain

app = typer.Typer(
    help="Benchmarks and paper replications for continuous-time generative models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("list")(runs.list_)
app.command("plan")(campaign.plan)
app.command("power")(campaign.power)
app.command("run")(runs.run)
app.command("status")(runs.status)
app.command("migrate")(runs.migrate)
app.command("doctor")(doctor)
app.command("report")(reports.report)
app.command("claims")(reports.claims)
app.command("show")(reports.show)
app.command("compare")(compare)
for _verb in importlib.metadata.entry_points(group="cnf_bench.verbs"):
    with contextlib.suppress(
        ImportError, AttributeError
    ):  # a package that is broken has no verb, and stops no other
        app.command(_verb.name)(_verb.load())
app.add_typer(data.app, name="data", help="List, fetch and check data sets.")


def main() -> None:
    """Run the command line; papers that were left out are named at its end, and the exit code is then 3, not 0."""
    code = _run()
    for line in left_out():
        print(f"skipped: {plain(line)}", file=sys.stderr)
    sys.exit(code or (3 if left_out() else 0))


def _run() -> int | str | None:
    """Run what is asked for and return the exit code."""
    try:
        app()
    except SystemExit as end:
        return end.code
    except (UserError, OSError, RecursionError) as error:
        print(f"cnf-bench: {plain(_told(error))}", file=sys.stderr)
        return 2
    return 0


def _told(error: Exception) -> str:
    """Return one line of what is wrong: of a file or folder of the user's, where the system refuses it."""
    if isinstance(error, OSError):
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"{place}{error.strerror or error}; correct it, or name another file or folder"
    return (
        "a path has too many levels; name a shorter one" if isinstance(error, RecursionError) else str(error)
    )


if __name__ == "__main__":
    main()
