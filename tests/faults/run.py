"""Play every attack and write what became of it.

`python tests/faults` plays all of them and `KILLS` rounds of kills, and writes the table into `reports/faults.md`;
`--rounds 200` plays more rounds, `--parents 1,2,8` says how many calls there are on one folder in turn, `--attack
PATTERN` plays the attacks whose names match and writes nothing, `--kept FILE` keeps each outcome and plays only what
has none there. Exits with 1 where anything was lost, wrong, silent, stuck, left running or unclear.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import kept

from faults import code, data, disk, input, items, kills, own, processes, shown, wrong
from faults.box import ATTACKS, COLUMNS, ROOT, Attack, Box, Listed, Tally, Untried

MODULES = own, code, wrong, items, processes, disk, data, input, shown
"""Where attacks are; importing them fills the list."""
REPORT = ROOT / "reports" / "faults.md"
KILLS = 6
PATIENCE = 1800.0
"""Seconds after which an attack is stuck, all its commands together."""


class Played(NamedTuple):
    """An attack and what it led to; `untried` says why it was not played."""

    kind: str
    what: str
    tally: Tally
    untried: str = ""


def play(listed: Listed, good: Path, scratch: Path) -> Played:
    """Play an attack in a process of its own, so that one that ends its interpreter or hangs is counted."""
    folder = scratch / listed.play.__name__
    folder.mkdir()
    told = scratch / f"{folder.name}.json"
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            told.write_text(json.dumps(_child(listed.play, folder, good)))
        os._exit(0)
    end = time.monotonic() + PATIENCE
    while not (ended := os.waitpid(pid, os.WNOHANG)[0]) and time.monotonic() < end:
        time.sleep(0.02)
    if not ended:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if told.exists():
        untried, fields = json.loads(told.read_text())
        played = Played(listed.kind, listed.what, Tally(**fields), untried)
    else:
        box = Box(folder, good)
        box.count("wrong" if ended else "stuck", "the process of the attack ended" if ended else "no end")
        played = Played(listed.kind, listed.what, box.close())
    shutil.rmtree(folder, ignore_errors=True)
    return played


def _child(attack: Attack, folder: Path, good: Path) -> tuple[str, dict[str, object]]:
    """Return why an attack could not be played, nothing where it could, and its tally."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # what nohup ignores, no call would hear of
    os.environ["CNF_BENCH_DATA"], os.environ["CNF_BENCH_CACHE"] = "", str(folder / "cache")
    os.chdir(folder)
    box, untried = Box(folder, good), ""
    try:
        attack(box)
    except Untried as reason:
        untried = str(reason)
    except BaseException:
        box.count("wrong", f"the attack itself broke: {traceback.format_exc()[-600:]}")
    return untried, asdict(box.close())


def make_good(folder: Path) -> None:
    """Make an output folder of real runs: four results, one model, arrays beside one record."""
    box = Box(folder.parent, folder)
    for arguments in (
        ("fake.act/plain", "--tier", "cpu", "--seeds", "3"),
        ("fake.act/double", "--tier", "cpu", "--seed", "0"),
        ("fake.train", "--tier", "smoke", "--seed", "0"),
    ):
        box.call("run", *arguments, "--out", folder, code=0)
    box.call(*kills.RUNS, "--out", folder.parent / "reference", code=0)
    if box.tally.failed:
        raise SystemExit(f"the sound runs fail already: {box.tally.notes}")
    _with_arrays(folder)


def _with_arrays(folder: Path) -> None:
    import numpy as np

    from bench.execution.run import Run
    from bench.execution.worker import keep
    from bench.identity import identify
    from bench.record import Record, describe
    from bench.registry import registry

    run = Run(identify(registry()["fake.act"], "double", "cpu", 1), folder)
    run.metric("max_error", 0.5, "max-error/test")
    run.artifact("points", np.arange(12.0).reshape(6, 2))
    made = Record(run.identity, "done", metrics=run.metrics, started="2026-01-01T00:00:00+00:00")
    made.artifacts = {key: describe(array) for key, array in run.artifacts.items()}
    keep(run, made)


def play_all(chosen: Sequence[Listed], told: Callable[[str, Played], None]) -> None:
    """Play attacks one after the other, and tell of each its name and outcome."""
    import numpy as np  # noqa: F401 - every child has it then
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="cnf-faults-") as place:
        scratch = Path(place).resolve()
        scratch.chmod(0o755)
        good = scratch / "good"
        make_good(good)
        for listed in chosen:
            told(listed.play.__name__, play(listed, good, scratch))


def table(played: Sequence[Played], when: datetime, command: str, commits: Sequence[str] = ()) -> str:
    """Return the outcome as a page of Markdown."""
    total = Tally()
    for column in COLUMNS:
        setattr(total, column, sum(getattr(each.tally, column) for each in played))
    lines = [
        "# Faults", "",
        kept.made_by(command, when, commits), "",
        "Each row is an attack on the real command or library in a folder of its own. Tried: calls. Lost: files of "
        "the user or settled records that are gone. Wrong: another end or value than the right one. Silent: no word of "
        "what is wrong. Stuck: no end. Orphans: processes left. Unclear: a traceback, a control sequence or a message "
        "that does not name the fault.", "",
        f"| kind | attack | {' | '.join(COLUMNS)} |", f"|:--|:--|{'--:|' * len(COLUMNS)}",
    ]  # fmt: skip
    lines += [_row(each.kind, each.what, each.tally) for each in played if not each.untried]
    lines += [_row("", f"all {sum(not each.untried for each in played)}", total)]
    lines += ["", *(f"Not tried, {each.untried}: {each.what}" for each in played if each.untried)]
    lines += [f"- {each.what}: {note}" for each in played for note in each.tally.notes]
    return "\n".join(lines).rstrip() + "\n"


def _row(kind: str, what: str, tally: Tally) -> str:
    cells = [kind, what.replace("|", "\\|"), *(str(getattr(tally, column)) for column in COLUMNS)]
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what is asked for; return 0 where nothing went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=KILLS, help="rounds of kills")
    parser.add_argument("--parents", default="1,2,8", help="calls on one folder, by round in turn")
    parser.add_argument("--attack", help="pattern of names, a kind or a module; writes no report")
    parser.add_argument("--kept", type=Path, help="file of outcomes, which is gone on with")
    parser.add_argument("--out", type=Path, default=REPORT)
    options = parser.parse_args(arguments)
    parents = tuple(int(number) for number in options.parents.split(","))
    chosen = [*ATTACKS, *kills.rounds(options.rounds, parents)]
    if options.attack:
        chosen = [
            each
            for each in chosen
            if options.attack in (each.kind, each.play.__module__.split(".")[-1])
            or fnmatch.fnmatch(each.play.__name__, options.attack)
        ]

    def told(each: Played) -> None:
        faults = f"{each.tally.failed} FAULTS" if each.tally.failed else each.untried or "held"
        print(f"{faults:10} {each.kind}: {each.what}", flush=True)
        for note in each.tally.notes:
            print(f"    {note}", flush=True)

    lines = {line["name"]: line for line in kept.read(options.kept)}
    commit = kept.commit()

    def ended(name: str, each: Played) -> None:
        lines[name] = {
            "name": name,
            "played": [*each[:2], asdict(each.tally), each.untried],
            "commit": commit,
        }
        kept.keep(options.kept, lines[name])
        told(each)

    if todo := [each for each in chosen if each.play.__name__ not in lines]:
        play_all(todo, ended)
    found = [lines[each.play.__name__] for each in chosen]
    played = [_played(*line["played"]) for line in found]
    if not options.attack:
        command = f"nox -s faults -- --rounds {options.rounds} --parents {options.parents}"
        commits = [line["commit"] for line in found]
        options.out.write_text(table(played, datetime.now(UTC), command, commits), encoding="utf-8")
        print(options.out)
    failed = sum(each.tally.failed for each in played)
    print(f"{len(played)} attacks, {sum(each.tally.tried for each in played)} calls, {failed} faults")
    return 1 if failed else 0


def _played(kind: str, what: str, tally: Mapping[str, Any], untried: str) -> Played:
    return Played(kind, what, Tally(**tally), untried)
