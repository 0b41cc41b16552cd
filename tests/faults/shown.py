"""What is shown: text from records and programs never acts on a terminal, a spreadsheet, a browser or LaTeX."""

from __future__ import annotations

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from bench.identity import Identity
from bench.record import record_path
from faults.box import Box, attack, records
from faults.processes import paper
from faults.wrong import a_run, changed

KIND = "shown"
EVIL = (
    "\x1b[2J\x1b]0;title\x07", "\u202egnp.exe", "\r\nok\x08\x08", "\u2028\u2029", "\x9b31m", "\ufeff", "\ue000",
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&amp;&lt;", "`code` ![x](http://x/y.png)", "a|b|c",
    '=HYPERLINK("http://x")', "@SUM(1)", "+1+1", "-1+1|cmd", "\\input{/etc/passwd}", "\\write18{id}", "^^5cinput",
    "$$\\def\\x{\\x}\\x$$", "\\begin{document}", "[link=http://x]x[/link]", "[bold red]", "{{ 7 * 7 }}",
    "{% include '/etc/passwd' %}", "%s%n", "a" * 5000,
)  # fmt: skip


def hostile(text: str) -> Any:
    """Return a change of a record that puts a text wherever there is one."""

    def change(tree: Any) -> None:
        tree |= {"message": text, "command": text, "notes": [text]}
        tree["metrics"]["max_error"]["protocol"] = text
        tree["metrics"][f"nfe[{text[:200]}]"] = dict(tree["metrics"]["nfe"])
        tree["curves"][text] = {"x": [0.0], "y": [0.0], "x_label": text, "y_label": text}
        tree["environment"][text] = text
        tree["environment"]["cpu"] = text
        tree["environment"]["versions"] = {text: text}

    return change


class Tags(HTMLParser):
    """Finds what a page would run or fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        run = tag in ("script", "iframe", "object", "embed", "link", "base", "form", "meta")
        if (run and dict(attrs).keys() - {"charset", "name", "content", "class", "aria-label"}) or any(
            key.startswith("on") for key, _ in attrs
        ):
            self.bad.append(self.get_starttag_text() or tag)
        for key, value in attrs:
            if key in ("src", "href") and (value or "").lower().startswith(("javascript:", "http://x")):
                self.bad.append(f"{tag} {value}")


def another(folder: Path, seed: int, change: Any) -> Path:
    """Put a changed record beside the others, as that of another seed."""
    made = Path(shutil.copy(a_run(folder), folder / "records/fake.act/new.json"))

    def reseeded(tree: Any) -> None:
        tree["identity"]["seed"] = seed
        change(tree)

    changed(made, reseeded, own_id=True)
    return made.rename(record_path(folder, Identity(**json.loads(made.read_text())["identity"])))


@attack(KIND)
def texts_in_records(box: Box) -> None:
    """Show, claim and report records whose texts are control sequences, HTML, formulas, LaTeX, markup, templates."""
    folder = box.results()
    for i, text in enumerate(EVIL):
        box.call("show", another(folder, 100 + i, hostile(text)), code=(0, 2))
    box.call("claims", folder, code=(0, 3))
    box.call("report", folder, "--out", "paper", code=(0, 3))
    pages(box, box.folder / "paper")


def pages(box: Box, folder: Path) -> None:
    """Count what in the files of a report would act."""
    tags = Tags()
    tags.feed((folder / "index.html").read_text())
    box.check(not tags.bad, f"in HTML: {tags.bad[:3]}")
    for place in folder.rglob("*.csv"):
        with place.open(newline="", encoding="utf-8") as stream:
            cells = [cell for row in csv.reader(stream) for cell in row]
        bad = [
            c
            for c in cells
            if c.lstrip()[:1] in ("=", "@") or (c.lstrip()[:1] in ("+", "-") and not number(c))
        ]
        box.check(not bad, f"in {place.name}: {bad[:3]}")
    for place in folder.rglob("*.tex"):
        content = place.read_text().replace("\\begin{tabular}", "")
        bad = [
            w
            for w in ("\\input", "\\write", "\\include", "\\def", "\\begin{document}", "^^5c")
            if w in content
        ]
        box.check(not bad, f"in {place.name}: {bad}")
    for place in folder.rglob("*"):
        if place.suffix in (".md", ".tex", ".csv", ".html"):
            bad = [
                c
                for c in place.read_text()
                if ord(c) in range(127, 160) or (ord(c) < 32 and c not in "\n\r\t")
            ]
            box.check(not bad, f"control characters in {place.name}")


def number(text: str) -> bool:
    """Whether a cell is a number or a quantity rather than a formula."""
    return re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?( ?±? ?[-+\d.e]+)*( [A-Za-z%/]+)*", text) is not None


@attack(KIND)
def texts_of_runs(box: Box) -> None:
    """Run what ends with such texts as its message."""
    for i, text in enumerate(EVIL[::5]):
        place = paper(box, f"raise ValueError({text!r})")
        box.call("run", "fake.act/plain", "--seed", "0", "--out", f"out{i}", code=3, env=place)
        (path,) = records(box.folder / f"out{i}")
        box.call("show", path, code=0)


@attack(KIND)
def texts_in_claims(box: Box) -> None:
    """Claim and report where a paper's claims have such texts."""
    folder, place = box.results(), box.paper()
    claims = place / "fake_paper/claims.toml"
    margin, whole, *_ = claims.read_text().split("\n\n")
    made = [margin]
    for i, text in enumerate(EVIL):
        quoted = json.dumps(text).replace("\x7f", "\\u007f")
        one = whole.replace('"the error is 0.5"', quoted).replace('"Table 1"', quoted)
        made.append(one.replace('"fake.error"', f'"fake.error{i}"'))
    claims.write_text("\n\n".join(made), encoding="utf-8")
    box.call("claims", folder, code=0, env=box.with_paper(place))
    box.call("report", folder, "--out", "paper-out", code=0, env=box.with_paper(place))
    pages(box, box.folder / "paper-out")


@attack(KIND)
def texts_in_names_of_files(box: Box) -> None:
    """List with claims and doctor files whose names are control sequences and markup."""
    folder = box.results()
    for text in EVIL:
        name = text.replace("/", "_")[:200]
        if name not in ("", ".", ".."):
            (folder / "records/fake.act" / f"{name}.json").write_text("{}")
    box.call("claims", folder, code=3)
    box.call("status", folder, code=3)
    box.call("doctor", folder, code=3)
    box.call("doctor", folder, "--fix", code=0)
    box.call("claims", folder, code=0)


@attack(KIND)
def json_of_hostile_records(box: Box) -> None:
    """Ask for JSON of records with such texts: it is valid, whole and has no control characters."""
    folder = box.results(guarded=False)
    changed(a_run(folder), hostile("\x1b[2J\u202e\u2028"))
    for verb in (
        ("claims", folder, "--json"),
        ("status", folder, "--json"),
        ("list", "--json"),
        ("data", "list", "--json"),
    ):
        ended = box.call(*verb, code=0)
        try:
            json.loads(ended.out)
        except ValueError as error:
            box.count("wrong", f"{verb[0]} --json: {error}")


@attack(KIND)
def pictures_of_odd_numbers(box: Box) -> None:
    """Show and report records whose numbers are the largest, the smallest, zero, or of odd counts and errors."""
    folder = box.results()
    for i, value in enumerate((1.7e308, 5e-324, -0.0, 0.0, -1e-300, 10**19, 1e16)):
        for j, se in enumerate((None, 0.0, 1e308, 5e-324)):

            def change(tree: Any, value: Any = value, se: Any = se) -> None:
                tree["metrics"]["max_error"] |= {"value": value, "se": se, "n": 10**18}
                tree["curves"]["error"] |= {"x": [value, None, 1.0], "y": [None, value, 1e308]}

            path = another(folder, 100 + 10 * i + j, change)
        box.call("show", path, code=0)
        box.call("claims", folder, "--json", code=0)
    box.call("report", folder, "--out", "paper", code=0)
