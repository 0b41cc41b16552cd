"""The report as one HTML page that needs no network."""

from __future__ import annotations

import base64
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Any

from bench.claim import VERDICTS
from bench.experiment import TIERS
from bench.record import Record
from bench.report import verdicts
from bench.report.content import Report
from bench.report.figures import Drawn
from bench.report.table import Column, Table
from bench.schema import STATUSES
from bench.text import plain


def page(report: Report) -> str:
    """Return the page."""
    used = [record for section in report.sections for record in section.records]
    html = _template().render(
        style=_text("page.css"),
        report=report,
        verdict_names=VERDICTS,
        counts=verdicts.counts(report.verdicts),
        evidence=verdicts.evidence_counts(report.verdicts),
        papers=[_paper(key, report) for key in _papers(report)],
        smoke=_smoke_table(report.smoke),
        tiers=_tally((r.identity.tier for r in used), TIERS),
        commits=_tally(map(_commit, used)),
        hardware=_tally(map(_hardware, used)),
        command=_command,
        data_uri=_data_uri,
    )
    return html + "\n"


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, finalize=_clean, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["slug"] = lambda text: text.replace(" ", "-")
    return environment.from_string(_text("page.html.j2"))


def _clean(value: Any) -> Any:
    """Return a text of the page without control characters; marks that the template made are left as they are."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return "\n".join(map(plain, value.split("\n")))


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _papers(report: Report) -> list[str]:
    return sorted({v.claim.paper for v in report.verdicts} | {s.experiment.paper for s in report.sections})


def _paper(key: str, report: Report) -> dict[str, Any]:
    title = verdicts.paper_title(key)
    claims = [v for v in report.verdicts if v.claim.paper == key]
    return {
        "key": key,
        "title": title,
        "claims": verdicts.table(claims, f"Claims of {title}") if claims else None,
        "sections": [s for s in report.sections if s.experiment.paper == key],
    }


def _tally(values: Iterable[str], order: Sequence[str] = ()) -> list[tuple[str, int]]:
    """Count equal values; in the given order, else the most frequent first."""
    counted = Counter(values)
    if order:
        return [(value, counted[value]) for value in order if value in counted]
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))


def _commit(record: Record) -> str:
    commit = record.environment.get("commit")
    changed = " with uncommitted changes" if record.environment.get("dirty") else ""
    return f"{commit[:10]}{changed}" if commit else "unknown"


def _hardware(record: Record) -> str:
    e = record.environment
    gpu, versions = e.get("gpu"), e.get("versions") or {}
    parts = [
        f"{e.get('cpu', 'unknown processor')}, {e.get('cores', '?')} cores, {e.get('threads', '?')} threads",
        f"{gpu['name']}, driver {gpu['driver']}, CUDA {gpu['cuda']}" if gpu else "",
        ", ".join(f"{name} {versions[name]}" for name in ("torch", "python") if versions.get(name)),
    ]
    return "; ".join(part for part in parts if part)


def _command(records: Sequence[Record]) -> list[str]:
    """Return the command lines, one a tier, that make an experiment's records again."""
    lines = []
    for tier in TIERS:
        seeds = sorted({r.identity.seed for r in records if r.identity.tier == tier})
        if seeds:
            first = seeds == list(range(len(seeds)))
            which = f"--seeds {len(seeds)}" if first else " ".join(f"--seed {seed}" for seed in seeds)
            name = shlex.quote(records[0].identity.experiment)
            lines.append(f"cnf-bench run {name} --tier {tier} {which}")
    return lines


def _smoke_table(records: Sequence[Record]) -> Table | None:
    """Statuses, without any number, of smoke runs by experiment."""
    found: dict[str, Counter[str]] = {}
    for record in records:
        found.setdefault(record.identity.experiment, Counter())[record.status] += 1
    statuses = [status for status in STATUSES if any(status in counted for counted in found.values())]
    rows = tuple((name, *(str(counted[s]) for s in statuses)) for name, counted in sorted(found.items()))
    columns = (Column("experiment"), *(Column(status, align="right") for status in statuses))
    caption = "Smoke runs by how they ended"
    return Table("Smoke runs", caption, columns, rows) if rows else None


def _data_uri(figure: Drawn) -> str:
    # An image has its own name space, so identifiers of several drawings can not meet.
    return "data:image/svg+xml;base64," + base64.b64encode(figure.files["svg"]).decode()
