"""Hand damaged inputs to every parser and write how they ended.

`python tests/fuzz` takes `COUNT` inputs a parser and writes the table into `reports/fuzz.md`; `--count 20000` takes
more, `--parser NAME` one parser alone and writes nothing, `--first N` begins with another input. Exits with 1 where
one ended in anything but a value or the typed error, or took too long or too much.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from parsers import PARSERS

from fuzz.converted import CONVERTED
from fuzz.folders import FOLDERS
from fuzz.runner import COLUMNS, MEMORY, SECONDS, Ends, fuzz

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "reports" / "fuzz.md"
COUNT = 2000
ALL = PARSERS | CONVERTED | FOLDERS


def table(found: Mapping[str, Ends], when: datetime, command: str) -> str:
    """Return the outcome as a page of Markdown."""
    asked = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    lines = [
        "# Fuzz", "",
        f"Made by `{command}` on {when:%Y-%m-%d}, commit {commit or 'unknown'}, Python {platform.python_version()}, "
        f"{platform.system()}.", "",
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand over what is asked for; return 0 where nothing ended as none may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, help="inputs a parser")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--parser", choices=list(ALL), help="one alone; writes no report")
    parser.add_argument("--out", type=Path, default=REPORT)
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)
    found: dict[str, Ends] = {}
    for name in [options.parser] if options.parser else ALL:
        start = time.monotonic()
        ends = found[name] = fuzz(name, ALL[name], options.count, options.first)
        counts = ", ".join(f"{getattr(ends, column)} {column}" for column in COLUMNS)
        print(
            f"{name:16} {counts}; slowest {ends.slowest:.1f} s, {ends.memory} MiB, {time.monotonic() - start:.0f} s",
            flush=True,
        )
        for note in ends.notes:
            print(f"    {note}", flush=True)
    if not options.parser:
        command = " ".join(["nox -s fuzz", *(["--", *sys.argv[1:]] if sys.argv[1:] else [])])
        options.out.write_text(table(found, datetime.now(UTC), command), encoding="utf-8")
        print(options.out)
    return 1 if any(ends.failed for ends in found.values()) else 0
