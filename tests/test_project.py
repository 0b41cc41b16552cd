"""The project's own promises: one version everywhere, metadata that agrees."""

import re
import tomllib
from pathlib import Path

import pytest

import bench
from bench.claim import load_claims
from bench.registry import papers

ROOT = Path(__file__).parents[1]


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    changed = re.search(r"^## (\d\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert project["version"] == cited[1] == changed[1] == bench.__version__


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def test_the_readme_shows_what_the_report_holds():
    rows = [
        cells(line)
        for line in (ROOT / "reports/tables/claims.md").read_text().splitlines()
        if line[:1] == "|"
    ]
    names, report = rows[0], {row[0]: row for row in rows}
    table = re.search(r"<!-- claims -->\n(.*?)\n<!-- end -->", (ROOT / "README.md").read_text(), re.S)
    header, _, *shown = [cells(line) for line in table[1].splitlines()]
    headlines = [c for c in load_claims() if c.headline]
    assert {row[0].replace("\\", "") for row in shown} == {c.id for c in headlines}
    assert {c.paper for c in headlines} == set(papers())
    for row in shown:
        assert row == [report[row[0]][names.index(name)] for name in header]


@pytest.mark.parametrize(
    "path",
    sorted(p for part in ("bench", "replications", "tests") for p in (ROOT / part).rglob("*.py")),
    ids=str,
)
def test_no_file_is_long(path):
    assert len(path.read_text().splitlines()) <= 500
