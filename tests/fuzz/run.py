"""Hand damaged inputs to every parser and write how they ended.

`python tests/fuzz` takes `COUNT` inputs a parser and writes the table into `reports/fuzz.md`; `--count 20000` takes
more, `--parser PATTERN` the parsers whose names match and writes nothing, `--first N` begins with another input,
`--kept FILE` keeps the outcomes and hands over only inputs that have none there, `--table` hands over none at all and
writes what is kept. Exits with 1 where one ended in anything but a value or the typed error, or took too long or too
much.
"""

from __future__ import annotations

import argparse
import fnmatch
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import kept
from parsers import PARSERS

from fuzz.converted import CONVERTED
from fuzz.folders import FOLDERS
from fuzz.runner import COLUMNS, MEMORY, SECONDS, Ends, fuzz, merged

REPORT = kept.ROOT / "reports" / "fuzz.md"
COUNT = 2000
PORTION = 500
"""Inputs whose outcome is kept together."""
ALL = PARSERS | CONVERTED | FOLDERS


def table(found: Mapping[str, Ends], when: datetime, command: str, commits: Sequence[str] = ()) -> str:
    """Return the outcome as a page of Markdown."""
    lines = [
        "# Fuzz", "",
        kept.made_by(command, when, commits), "",
        "Each row is a parser that was handed damaged inputs. Value: read all the same, right where it can be told. "
        "Error: the typed error, of one line. All else is a fault: a traceback, the end of the process, more than "
        f"{SECONDS:g} s or {MEMORY >> 20} MiB an input.", "",
        f"| parser | {' | '.join(COLUMNS)} | slowest, s | memory, MiB |", f"|:--|{'--:|' * (len(COLUMNS) + 2)}",
    ]  # fmt: skip
    for name, ends in found.items():
        counts = " | ".join(str(getattr(ends, column)) for column in COLUMNS)
        lines.append(f"| {name} | {counts} | {ends.slowest:.1f} | {ends.memory} |")
    lines += ["", *(f"- {name}: {note}" for name, ends in found.items() for note in ends.notes)]
    return "\n".join(lines).rstrip() + "\n"


class Outcomes:
    """What is known of portions of inputs, and where it is kept; where it is closed, nothing is added."""

    def __init__(self, path: Path | None, closed: bool = False) -> None:
        self.path, self.closed, self.commit = path, closed, kept.commit()
        self.lines = kept.read(path)

    def hand_over(self, name: str, first: int, count: int) -> tuple[Ends, list[str]]:
        """Return how so many inputs ended, and the commits; what is not known yet is handed over."""
        known = {(line["parser"], line["first"], line["count"]): line for line in self.lines}
        chosen = []
        for begin in range(first, first + count, PORTION):
            number = min(PORTION, first + count - begin)
            line = known.get((name, begin, number))
            if line is None and self.closed:
                continue
            if line is None:
                ends = asdict(fuzz(name, ALL[name], number, begin))
                line = {"parser": name, "first": begin, "count": number, "ends": ends, "commit": self.commit}
                kept.keep(self.path, line)
            chosen.append(line)
        return merged([Ends(**line["ends"]) for line in chosen]), [line["commit"] for line in chosen]


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand over what is asked for; return 0 where nothing ended as none may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, help="inputs a parser")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--parser", help="pattern of names; writes no report")
    parser.add_argument("--kept", type=Path, help="file of outcomes, which is gone on with")
    parser.add_argument("--table", action="store_true", help="hand over nothing more")
    parser.add_argument("--out", type=Path, default=REPORT)
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)
    found: dict[str, Ends] = {}
    commits: list[str] = []
    outcomes = Outcomes(options.kept, options.table)
    for name in fnmatch.filter(ALL, options.parser or "*"):
        start = time.monotonic()
        ends, made_by = outcomes.hand_over(name, options.first, options.count)
        found[name], commits = ends, [*commits, *made_by]
        counts = ", ".join(f"{getattr(ends, column)} {column}" for column in COLUMNS)
        print(
            f"{name:16} {counts}; slowest {ends.slowest:.1f} s, {ends.memory} MiB, {time.monotonic() - start:.0f} s",
            flush=True,
        )
        for note in ends.notes:
            print(f"    {note}", flush=True)
    if not options.parser:
        command = f"nox -s fuzz -- --first {options.first} --count {options.count}"
        command += " --table" if options.table else ""
        options.out.write_text(table(found, datetime.now(UTC), command, commits), encoding="utf-8")
        print(options.out)
    return 1 if any(ends.failed for ends in found.values()) else 0
