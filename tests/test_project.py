"""The project's own promises: one version everywhere, metadata that agrees."""

import re
import tomllib
from pathlib import Path

import pytest

import bench

ROOT = Path(__file__).parents[1]


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    changed = re.search(r"^## (\d\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert project["version"] == cited[1] == changed[1] == bench.__version__


def test_the_readme_shows_the_table_that_the_report_holds():
    readme = (ROOT / "README.md").read_text()
    shown = re.findall(r"<!-- from (\S+) -->\n(.*?)\n<!-- end -->", readme, re.S)
    assert shown
    for source, text in shown:
        rows = (ROOT / source).read_text().splitlines()
        missing = [line for line in text.strip().splitlines() if line not in rows]
        assert not missing, f"not in {source}: {missing}"


@pytest.mark.parametrize(
    "path",
    sorted(p for part in ("bench", "replications", "tests") for p in (ROOT / part).rglob("*.py")),
    ids=str,
)
def test_no_file_is_long(path):
    assert len(path.read_text().splitlines()) <= 500
