"""The suite's own verbs of the command line: check, fit, sample, score, new."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import say
from bench.errors import UserError

Model = Annotated[Path, typer.Argument(help="model.pt of a fit.")]
Out = Annotated[Path | None, typer.Option(help="CSV file to write; by default to standard output.")]
Seed = Annotated[int, typer.Option(help="Of all that is random.", min=0, max=2**31 - 1)]


def check(
    method: Annotated[str, typer.Argument(help="FILE.py:FUNCTION, as `cnf-bench run --method` takes it.")],
) -> None:
    """Try a method of your own on what the suite relies on; exit 1 where something is wrong."""
    from replications.suite.check import faults

    found = faults(method)
    for line in found:
        say(line)
    if found:
        raise typer.Exit(1)
    say(f"{method}: all is well")


def fit(
    table: Annotated[Path, typer.Argument(help="Rows of numbers: .csv with a header, .npy or .parquet.")],
    method: Annotated[
        str, typer.Option(help="cnf, ffjord, rnode, steer, ot_flow, fm_ot, ot_cfm, ...")
    ] = "fm_ot",
    out: Annotated[Path, typer.Option(help="Folder that receives model, scores, samples and a page.")] = Path(
        "fitted"
    ),
    seconds: Annotated[float, typer.Option(help="Processor seconds of training.", min=0.1)] = 60.0,
    iterations: Annotated[int, typer.Option(help="Steps in place of seconds; repeats exactly.", min=0)] = 0,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam.", min=1e-8, max=10.0)] = None,
    samples: Annotated[int, typer.Option("-n", "--samples", help="Rows to draw.", min=1, max=10**7)] = 1000,
    seed: Seed = 0,
) -> None:
    """Fit a method to a table of your own: model, log-density of held-out rows, samples, a page."""
    from bench.report import manifest
    from replications.suite import fitting
    from replications.suite import table as tables
    from replications.suite.fitted_files import files

    try:
        rows = tables.read(table, fitting.LEAST)
        for line in tables.remarks(rows):
            say(f"note: {line}", err=True)
        outcome = fitting.fit(
            rows, method, seconds, learning_rate, seed, iterations, tell=lambda line: say(line, err=True)
        )
    except tables.TableFault as fault:
        for line in fault.lines:
            say(f"cnf-bench: {line}", err=True)
        raise typer.Exit(2) from None
    except Exception as error:
        if getattr(error, "status", None) is None:
            raise
        raise UserError(f"the training ended: {error}; try a smaller --learning-rate") from error
    made = files(rows, outcome, samples, seed, table.name)
    manifest.publish(out, made)
    say(out / "index.html")


def sample(
    model: Model,
    n: Annotated[int, typer.Option("-n", min=1, max=10**7)] = 1000,
    out: Out = None,
    seed: Seed = 0,
) -> None:
    """Draw rows from a fitted model, in the table's units."""
    from replications.suite import fitting
    from replications.suite.fitted_files import csv

    fitted = fitting.load(model)
    _write(csv(fitted.names, fitted.sample(n, seed)), out)


def score(
    model: Model,
    table: Annotated[Path, typer.Argument(help="Rows: .csv, .npy or .parquet.")],
    out: Out = None,
) -> None:
    """Print the log-density of rows under a fitted model, in nats and the table's units."""
    import numpy as np

    from replications.suite import fitting
    from replications.suite import table as tables
    from replications.suite.fitted_files import csv

    fitted, rows = fitting.load(model), tables.read(table)
    if rows.names != fitted.names:
        raise UserError(
            f"{table} has the columns {', '.join(rows.names[:5])}, "
            f"the model {', '.join(fitted.names[:5])}; give the same"
        )
    _write(
        csv(
            ("row", "log_prob"),
            np.column_stack((np.arange(1, len(rows.rows) + 1), fitted.log_prob(rows.rows))),
        ),
        out,
    )


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    if out.exists():
        raise UserError(f"{out} exists; name another file")
    out.write_text(text, encoding="utf-8")


def new(
    kind: Annotated[str, typer.Argument(help="method.")],
    name: Annotated[str, typer.Argument(help="Of the file, without .py.")],
) -> None:
    """Write a small working template of a method of your own."""
    from replications.suite.templates import TEMPLATES

    if kind not in TEMPLATES:
        raise UserError(f"no template is called {kind!r}: choose one of {', '.join(TEMPLATES)}")
    if not name.isidentifier():
        raise UserError(f"{name!r} is no name of a Python module; use letters, digits and underscores")
    path = Path(f"{name}.py")
    if path.exists():
        raise UserError(f"{path} exists; choose another name")
    path.write_text(TEMPLATES[kind], encoding="utf-8")
    say(path)
