"""The project's own promises: one version everywhere, metadata that agrees."""

import itertools
import re
import tomllib
from pathlib import Path

import pytest

import bench
from bench.claim import load_claims

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
    assert {c.paper for c in headlines} == {c.paper for c in load_claims()}
    for row in shown:
        assert row == [report[row[0]][names.index(name)] for name in header]


@pytest.mark.parametrize(
    "path",
    sorted(p for part in ("bench", "replications", "tests") for p in (ROOT / part).rglob("*.py")),
    ids=str,
)
def test_no_file_is_long(path):
    assert len(path.read_text().splitlines()) <= 500


@pytest.mark.parametrize("readme", sorted(ROOT.glob("replications/*/README.md")), ids=lambda p: p.parent.name)
def test_a_papers_page_names_files_that_exist(readme):
    """The first column of its table of files."""
    table = itertools.takewhile(
        str.strip, itertools.dropwhile(lambda line: line != "| file | what |", lines(readme))
    )
    named = [name for row in table for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    missing = [name for name in named if not (readme.parent / name.replace("<name>/", "")).exists()]
    assert (missing, "method.py" in named) == ([], (readme.parent / "method.py").exists())


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("replications/**/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_shows_or_names_is_there(page):
    named = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    assert [name for name in named if "://" not in name and not (page.parent / name).exists()] == []
