"""Change sources one place at a time and see whether the tests that guard them fail.

`python tests/mutation` runs a fixed sample of every target's mutants and every planted fault; `--all` runs every
mutant, `--target PATTERN` the sources it matches, `--planted` the planted faults alone. Exits with 1 where fewer than
nine of ten mutants are noticed or a planted fault is not, with 2 where an entry of the lists is out of date or tests
fail on an unchanged source.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mutation.equivalent import EQUIVALENT
from mutation.forked import ROOT, End, Work, preload, run_all
from mutation.operators import Mutant, mutants
from mutation.planted import PLANTED, Fault
from mutation.targets import TARGETS, Target

WANTED = 0.9
PATIENCE = 30.0, 10.0
"""A child hangs after so many seconds and so many times what the tests take on the unchanged source."""


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant or a planted fault."""

    target: Target | Fault
    change: str
    how: str


def text_of(source: str) -> str:
    """Return the text of a source file."""
    return (ROOT / source).read_text(encoding="utf-8")


def modules() -> dict[str, str]:
    """Return the path of every test module by its name; no two have the same."""
    return {path.stem: str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests").rglob("test_*.py"))}


def key(lines: Sequence[str], mutant: Mutant) -> tuple[str, str, str]:
    """Return what `EQUIVALENT` calls a mutant: its line's text, the text before and after."""
    return lines[mutant.line - 1].strip(), mutant.before, mutant.after


def chosen(target: Target, everything: bool) -> list[Mutant]:
    """Return the mutants of a target that are run, by line."""
    text = text_of(target.source)
    lines, equivalent = text.splitlines(), EQUIVALENT.get(target.source, {})
    found = [m for m in mutants(text) if key(lines, m) not in equivalent]
    if everything or len(found) <= target.sample:
        return found
    return sorted(random.Random(target.source).sample(found, target.sample), key=lambda m: m.line)


def out_of_date() -> list[str]:
    """Return the entries of the lists that no longer fit the sources."""
    wrong = [
        f"planted fault {fault.name!r}: its text is {text_of(fault.source).count(fault.old)} times in {fault.source}"
        for fault in PLANTED
        if text_of(fault.source).count(fault.old) != 1
    ]
    for source, entries in EQUIVALENT.items():
        text = text_of(source)
        found = {key(text.splitlines(), m) for m in mutants(text)}
        wrong += [f"equivalent: no mutant of {source} is {entry}" for entry in entries if entry not in found]
    known, named = modules(), {name for each in (*TARGETS, *PLANTED) for name in each.tests.split()}
    return wrong + [f"there is no {name}.py among the tests" for name in sorted(named - set(known))]


def limits(targets: Sequence[Target | Fault], workers: int) -> dict[tuple[str, str], float]:
    """Return after how many seconds the tests of each target hang: they run on the unchanged source first.

    Raises:
        SystemExit: 2; some fail there.
    """
    places, pairs = modules(), list(dict.fromkeys((t.source, t.tests) for t in targets))
    with tempfile.TemporaryDirectory() as folder:
        work = [
            Work(source, text_of(source), [places[name] for name in tests.split()], 1800.0, f"{folder}/{i}")
            for i, (source, tests) in enumerate(pairs)
        ]
        ends = run_all(work, workers)
        broken = [(each, end.how) for each, end in zip(work, ends, strict=True) if end.how != "survived"]
        for each, how in broken:
            print(Path(each.output).read_text()[-3000:], file=sys.stderr)
            print(f"{' '.join(each.tests)} on the unchanged {each.source}: {how}", file=sys.stderr)
    if broken:
        sys.exit(2)
    return {pair: PATIENCE[0] + PATIENCE[1] * end.seconds for pair, end in zip(pairs, ends, strict=True)}


def run(targets: Sequence[Target], faults: Sequence[Fault], everything: bool, workers: int) -> list[Outcome]:
    """Run the mutants of targets and planted faults; print each that no test notices."""
    after = limits([*targets, *faults], workers)
    changes: list[tuple[Target | Fault, str, str]] = [
        (target, str(m), m.source) for target in targets for m in chosen(target, everything)
    ]
    changes += [(fault, fault.name, text_of(fault.source).replace(fault.old, fault.new)) for fault in faults]
    places = modules()
    work = [
        Work(t.source, text, [places[name] for name in t.tests.split()], after[t.source, t.tests])
        for t, _, text in changes
    ]
    names = {id(each): f"{each.source} {change}" for each, (_, change, _) in zip(work, changes, strict=True)}

    def told(each: Work, end: End) -> None:
        if end.how == "survived":
            print(f"survived: {names[id(each)]}", flush=True)

    ends = run_all(work, workers, told)
    return [Outcome(target, change, end.how) for (target, change, _), end in zip(changes, ends, strict=True)]


def share(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """Return how many are noticed, and of how many; what can not be imported is no mutant."""
    alive = [o for o in outcomes if o.how != "stillborn"]
    return sum(o.how != "survived" for o in alive), len(alive)


def report(outcomes: Sequence[Outcome]) -> str:
    """Return the outcome of every target as Markdown, and each survivor."""
    of_mutants = [o for o in outcomes if isinstance(o.target, Target)]
    lines = ["| source | mutants | noticed | of these by hanging |", "|:--|--:|--:|--:|"]
    for target in dict.fromkeys(o.target for o in of_mutants):
        lines.append(_row(target.source, [o for o in of_mutants if o.target == target]))
    lines += [_row("all", of_mutants), "", "Survivors:"]
    lines += [f"- {o.target.source} {o.change}" for o in of_mutants if o.how == "survived"]
    lines += ["", "Left out, since no test could notice them:"]
    lines += [
        f"- {source} `{line}`: `{old}` -> `{new}`: {why}"
        for source in dict.fromkeys(o.target.source for o in of_mutants)
        for (line, old, new), why in EQUIVALENT.get(source, {}).items()
    ]
    of_faults = [o for o in outcomes if isinstance(o.target, Fault)]
    lines += ["", "| planted fault | source | noticed |", "|:--|:--|:--|"]
    lines += [
        f"| {o.change} | {o.target.source} | {'no' if o.how == 'survived' else 'yes'} |" for o in of_faults
    ]
    return "\n".join(lines)


def _row(name: str, outcomes: Sequence[Outcome]) -> str:
    noticed, alive = share(outcomes)
    return f"| {name} | {alive} | {noticed} | {sum(o.how == 'hung' for o in outcomes)} |"


def main() -> int:
    """Run what is asked for; return 0 where enough is noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every mutant, not a sample")
    parser.add_argument("--target", default="*", help="pattern of source files")
    parser.add_argument("--planted", action="store_true", help="the planted faults alone")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="write the tables there")
    options = parser.parse_args()
    for entry in (wrong := out_of_date()):
        print(entry, file=sys.stderr)
    if wrong:
        return 2
    preload()
    targets, faults = (
        [t for t in each if fnmatch.fnmatch(t.source, options.target)] for each in (TARGETS, PLANTED)
    )
    outcomes = run([] if options.planted else targets, faults, options.all, options.workers)
    print(text := report(outcomes))
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    noticed, alive = share([o for o in outcomes if isinstance(o.target, Target)])
    missed = any(isinstance(o.target, Fault) and o.how == "survived" for o in outcomes)
    return 0 if noticed >= WANTED * alive and not missed else 1
