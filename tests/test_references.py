"""Every cited work is in references.bib, and every work there is cited; the examples of docstrings run."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KEY = re.compile(r"\b[a-z]{2,}(?:19|20)\d{2}[a-z]+\b")
SOURCES = [
    path
    for folder in ("bench", "replications", "benchmarks", "tests")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".md", ".toml")
]
ENTRIES = (ROOT / "references.bib").read_text(encoding="utf-8")


def test_what_is_cited_and_what_is_listed_are_the_same() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES if path != Path(__file__))
    cited, listed = set(KEY.findall(text)), re.findall(r"^@\w+\{(\w+),$", ENTRIES, re.M)
    assert len(listed) == len(set(listed))
    assert cited == set(listed)


@pytest.mark.parametrize(
    "entry", re.split(r"(?m)^(?=@)", ENTRIES)[1:], ids=lambda e: e[e.index("{") + 1 : e.index(",")]
)
def test_an_entry_is_whole(entry: str) -> None:
    """The key holds the first author and the year; braces are balanced; nothing that a reader needs is missing."""
    key = re.match(r"@\w+\{(\w+),", entry).group(1)  # type: ignore[union-attr]
    fields = dict(re.findall(r"^  (\w+)\s*= \{(.*?)\},$", entry, re.M | re.S))
    assert {"title", "author", "year"} <= fields.keys()
    assert {"booktitle", "journal", "publisher", "institution"} & fields.keys()
    assert fields["year"] in key
    plain = re.sub(r"\{\\.\{?(\w)\}?\}|\{\\\w+\}|[^a-z]", r"\1", fields["author"].split(",")[0].lower())
    assert re.split(r"\d", key)[0].startswith(plain[:4])
    assert entry.count("{") == entry.count("}")


MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in SOURCES
    if path.suffix == ".py"
    and path.parts[len(ROOT.parts)] != "tests"
    and ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_docstrings_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
