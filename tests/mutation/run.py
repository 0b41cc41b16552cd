"""Change sources one place at a time and see whether the tests that guard them fail.

`python tests/mutation/run.py` takes a fixed sample of every target, `--all` every mutant, `--target PATTERN` some.
Each mutant runs in a child that is forked once the heavy libraries are imported, so that a test costs what it takes.
Exits with 1 where fewer than nine of ten are noticed, with 2 where tests fail on an unchanged source.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators import Mutant, mutants
from targets import EQUIVALENT, TARGETS, Target

ROOT = Path(__file__).parents[2]
LIMIT = 120.0
"""Seconds after which a mutant counts as noticed: it made a test hang."""
WANTED = 0.9


@dataclass
class Outcome:
    """What became of a mutant: `killed`, `survived` or `timeout`."""

    target: Target
    mutant: Mutant
    end: str


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module with another source in place of its own."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the module's specification where it is the changed one."""
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def create_module(self, spec: Any) -> None:
        """Leave it to Python."""

    def exec_module(self, module: Any) -> None:
        """Run the changed source as the module."""
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)


def chosen(target: Target, everything: bool) -> list[Mutant]:
    """Return the mutants of a target that are run, by line."""
    source = (ROOT / target.source).read_text(encoding="utf-8")
    lines = source.splitlines()
    found = [m for m in mutants(source) if not _equivalent(target, lines[m.line - 1].strip(), m)]
    if everything or len(found) <= target.sample:
        return found
    return sorted(random.Random(target.source).sample(found, target.sample), key=lambda m: m.line)


def _equivalent(target: Target, line: str, mutant: Mutant) -> bool:
    return (target.source, line, mutant.after) in EQUIVALENT


def child(target: Target, mutant: Mutant) -> int:
    """Run the tests of a target on a mutant in this process; return pytest's exit code."""
    name = target.source.removesuffix(".py").replace("/", ".")
    sys.meta_path.insert(0, Changed(name, ROOT / target.source, mutant.source))
    import pytest

    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *target.tests.split()]))


def run_all(work: list[tuple[Target, Mutant]], workers: int, quiet: bool = False) -> list[Outcome]:
    """Run all mutants, some at a time."""
    waiting, running, done = list(reversed(work)), {}, []
    while waiting or running:
        while waiting and len(running) < workers:
            target, mutant = waiting.pop()
            pid = os.fork()
            if pid == 0:
                os.setpgid(0, 0)
                os._exit(_guarded(target, mutant))
            running[pid] = target, mutant, time.monotonic()
        for pid in list(running):
            target, mutant, begun = running[pid]
            ended, status = os.waitpid(pid, os.WNOHANG)
            late = time.monotonic() - begun > LIMIT
            if ended == 0 and late:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            if ended or late:
                del running[pid]
                end = (
                    "timeout"
                    if not ended
                    else "survived"
                    if os.waitstatus_to_exitcode(status) == 0
                    else "killed"
                )
                done.append(Outcome(target, mutant, end))
                if end == "survived" and not quiet:
                    print(f"survived {target.source} {mutant}", flush=True)
        time.sleep(0.02)
    return done


def _guarded(target: Target, mutant: Mutant) -> int:
    try:
        return child(target, mutant)
    except BaseException:
        return 1


def preload() -> None:
    """Import what takes long, so that every child has it; nothing of this project."""
    import matplotlib.pyplot  # noqa: F401
    import pandas  # noqa: F401
    import pytest  # noqa: F401
    import scipy.integrate  # noqa: F401
    import scipy.optimize  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.ensemble  # noqa: F401
    import torch
    import torchdiffeq  # noqa: F401

    torch.set_num_threads(1)


def table(outcomes: list[Outcome]) -> str:
    """Return the outcome of every target as Markdown, and each survivor."""
    lines = ["| source | mutants | noticed |", "|:--|--:|--:|"]
    for target in dict.fromkeys(o.target for o in outcomes):
        mine = [o for o in outcomes if o.target == target]
        lines.append(f"| {target.source} | {len(mine)} | {sum(o.end != 'survived' for o in mine)} |")
    noticed = sum(o.end != "survived" for o in outcomes)
    lines.append(f"| all | {len(outcomes)} | {noticed} |")
    survivors = [f"- {o.target.source} {o.mutant}" for o in outcomes if o.end == "survived"]
    reasons = [
        f"- {source} `{line}` -> `{after}`: {why}" for (source, line, after), why in EQUIVALENT.items()
    ]
    return "\n".join(
        [*lines, "", "Survivors:", *survivors, "", "Left out, since nothing could notice them:", *reasons]
    )


def main() -> int:
    """Run the mutants asked for; return 0 where enough are noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every mutant, not a sample")
    parser.add_argument("--target", default="*", help="pattern of source files")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="write the table there")
    options = parser.parse_args()
    targets = [t for t in TARGETS if fnmatch.fnmatch(t.source, options.target)]
    work = [(t, m) for t in targets for m in chosen(t, options.all)]
    preload()
    clean = [(target, Mutant(0, "none", "", "", (ROOT / target.source).read_text())) for target in targets]
    broken = [o.target for o in run_all(clean, options.workers, quiet=True) if o.end != "survived"]
    for target in broken:
        print(f"{target.tests} fail on the unchanged {target.source}", file=sys.stderr)
    if broken:
        return 2
    outcomes = run_all(work, options.workers)
    text = table(sorted(outcomes, key=lambda o: (TARGETS.index(o.target), o.mutant.line)))
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0 if sum(o.end != "survived" for o in outcomes) >= WANTED * len(outcomes) else 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
