"""From records and claims to the report: tables, figures, corrections and one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.record import find
from bench.report import corrections, costs, latex, manifest, markdown, measured, verdicts
from bench.report.content import Report, collect
from bench.report.html import page
from bench.report.table import csv_text
from bench.verdict import Verdict


def build(folders: Sequence[Path], out: Path) -> Path:
    """Write the report of the records below some folders; see `publish`."""
    found = find(folders)
    return publish(collect(found.records, found.hidden), out)


def publish(report: Report, out: Path) -> Path:
    """Write a report and return the path of `index.html`.

    The same records give the same bytes: nothing written depends on the clock or on where it is written. Only files
    of the folder's last report are overwritten or removed.

    Raises:
        UserError: `out` cannot be written or has other files where the report's would be.
    """
    content = {name: data.encode() if isinstance(data, str) else data for name, data in files(report)}
    manifest.publish(out, content)
    return out / "index.html"


def files(report: Report) -> Iterator[tuple[str, str | bytes]]:
    """Yield every file of the report, by its path below the output folder."""
    for section in report.sections:
        name, title = f"tables/{section.experiment.name}", section.experiment.title
        rows = measured.csv_rows(section.experiment, section.records)
        yield f"{name}.md", markdown.document(title, section.tables)
        yield f"{name}.tex", latex.document(section.tables)
        yield f"{name}.csv", csv_text(measured.CSV_HEADER, rows)
        for figure in section.figures:
            for kind, content in figure.files.items():
                yield f"figures/{figure.name}.{kind}", content
    yield from _claim_files("claims", "All claims", report.verdicts)
    for paper in dict.fromkeys(v.claim.paper for v in report.verdicts):
        chosen = [v for v in report.verdicts if v.claim.paper == paper]
        yield from _claim_files(f"claims-{paper}", f"Claims of {verdicts.paper_title(paper)}", chosen)
    cost = costs.table(report.costs)
    yield "tables/costs.md", markdown.document("Cost", [cost])
    yield "tables/costs.tex", latex.document([cost])
    yield "tables/costs.csv", csv_text(costs.CSV_HEADER, costs.csv_rows(report.costs))
    yield "CORRECTIONS.md", corrections.document(report.verdicts)
    yield "index.html", page(report)


def _claim_files(name: str, title: str, chosen: Sequence[Verdict]) -> Iterator[tuple[str, str]]:
    table = verdicts.table(chosen, title)
    yield f"tables/{name}.md", markdown.document(title, [table])
    yield f"tables/{name}.tex", latex.document([table])
    yield f"tables/{name}.csv", csv_text(verdicts.CSV_HEADER, verdicts.csv_rows(chosen))
