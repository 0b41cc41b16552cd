"""Whole folders of which some files are damaged, through the verbs of the command, in this process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import typer
from mutants import of_bytes, of_json
from parsers import Parser, quick_report, some_claims

from bench import record as records
from bench.cli.main import app, main
from bench.errors import UserError
from bench.execution.run import Run
from bench.execution.worker import keep
from bench.identity import identify
from bench.record import Record, describe
from bench.registry import registry
from bench.text import plain

GOOD = "good"


def good(folder: Path) -> bytes:
    """Make a folder with records, arrays, a model, a state, a log and a report."""
    import torch

    place = folder / GOOD
    for seed in range(3):
        _kept(place, "fake.act", "plain", seed)
    run = _kept(place, "fake.act", "double", 0, np.arange(6.0).reshape(3, 2))
    trained = Run(identify(registry()["fake.train"], "sgd", "cpu", 0), place)
    trained.save_model(
        "torch.nn:Linear", {"in_features": 1, "out_features": 1}, torch.nn.Linear(1, 1).state_dict()
    )
    keep(trained, Record(trained.identity, "done"))
    run.save_state("train", b"a state")
    (place / "logs/fake.act").mkdir(parents=True)
    (place / "logs/fake.act/plain.log").write_text("log")
    assert verb(place, "report", place, "--out", place)[0] == 0
    return b""


def _kept(folder: Path, experiment: str, variant: str, seed: int, array: Any = None) -> Run:
    run = Run(identify(registry()[experiment], variant, "cpu", seed), folder)
    run.metric("max_error", 1.0 + seed, "max-error/test", 3, 0.5)
    run.curve("error", [0, 1], [1.0, 0.5], "step", "error")
    if array is not None:
        run.artifact("points", array)
    made = Record(run.identity, "done", metrics=run.metrics, curves=run.curves, notes=["n"])
    made.started, made.environment = "2026-01-01T00:00:00+00:00", {"jobs": 1, "device": "cpu"}
    made.artifacts = {key: describe(a) for key, a in run.artifacts.items()}
    keep(run, made)
    return run


def chosen(_: bytes, rng: random.Random) -> bytes:
    """Return what the damage of a folder is drawn from."""
    return rng.randbytes(8)


def damaged(folder: Path, rng: random.Random) -> set[Path]:
    """Damage some files of a folder, and return those that it did not touch."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    victims = set(rng.sample(files, rng.randint(1, 4)))
    for path in sorted(victims):
        rng.choice(HARMS)(path, rng, rng.choice(files))
    return set(files) - victims


def _bytes(path: Path, rng: random.Random, other: Path) -> None:
    path.write_bytes((of_json if path.suffix == ".json" else of_bytes)(path.read_bytes(), rng))


def _cut(path: Path, rng: random.Random, other: Path) -> None:
    os.truncate(path, rng.randrange(path.stat().st_size + 1))


def _gone(path: Path, rng: random.Random, other: Path) -> None:
    path.unlink()


def _other(path: Path, rng: random.Random, other: Path) -> None:
    content = other.read_bytes() if other.is_file() and not other.is_symlink() else b""
    path.write_bytes(content)


def _renamed(path: Path, rng: random.Random, other: Path) -> None:
    name = rng.choice(
        ("x" + path.suffix, path.name.upper(), path.name + ".bak", "\x1b[2J.json", "a\nb.json", ".json")
    )
    path.rename(path.with_name(name))


def _link(path: Path, rng: random.Random, other: Path) -> None:
    path.unlink()
    path.symlink_to(rng.choice((other, path, Path("/dev/zero"), Path("nowhere"))))


def _folder(path: Path, rng: random.Random, other: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path, rng: random.Random, other: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _doubled(path: Path, rng: random.Random, other: Path) -> None:
    shutil.copy(path, path.with_name(f"{path.stem}2{path.suffix}"))


def _schema(path: Path, rng: random.Random, other: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"schema": 2', rng.choice((b'"schema": 1', b'"schema": 3'))))


HARMS = (_bytes, _bytes, _bytes, _cut, _gone, _other, _renamed, _link, _folder, _pipe, _doubled, _schema)


def verb(folder: Path, *words: str | Path) -> tuple[int, str]:
    """Return the exit code of a command in this process and what it printed."""
    out = io.StringIO()
    argv = ["cnf-bench", *map(str, words)]
    some = patch("bench.claim.find_claims", some_claims)
    unrun = patch("bench.execution.executor.execute", _pretended)
    built = patch("bench.cli.main.app", _command())
    with contextlib.ExitStack() as stack:
        for each in (
            quick_report(),
            some,
            unrun,
            built,
            patch.object(sys, "argv", argv),
            contextlib.redirect_stdout(out),
        ):
            stack.enter_context(each)
        stack.enter_context(contextlib.redirect_stderr(out))
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


@cache
def _command() -> Any:
    """Return the verbs, which the program makes of its declarations each time that it starts."""
    return typer.main.get_command(app)


def _pretended(jobs: Any, folder: Path, limits: Any, listener: Any) -> dict[str, int]:
    """Write the record that each run would."""
    for job in jobs:
        listener(job, {"event": "start"})
        path = records.write(folder, Record(job.identity, "done"))
        listener(job, {"event": "end", "status": "done", "message": None, "path": str(path)})
    return {"done": len(jobs)}


def through(*words: str) -> Callable[[Path, bytes], Any]:
    """Return the call of a command on a damaged folder; its files that were sound are sound afterwards."""
    return partial(_through, words)


def _through(words: tuple[str, ...], folder: Path, content: bytes) -> Any:
    place = folder / "damaged"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / GOOD, place, copy_function=shutil.copyfile)
    sound = damaged(place, random.Random(content))
    whole = {p: p.read_bytes() for p in sound if p.parent.parent.name == "records"}
    if words[0] == "show":
        shown = random.Random(content).choice(sorted((place / "records").glob("*/*")))
        words = ("show", str(shown))
    code, text = verb(place, *(word.replace("FOLDER", str(place)) for word in words))
    lost = [p.name for p, was in whole.items() if not p.is_file() or p.read_bytes() != was]
    assert not lost, f"{lost} are no longer as they were"
    assert code in (0, 1, 2, 3), f"exit code {code}: {text}"
    assert "Traceback" not in text, text
    strange = [line for line in text.splitlines() if plain(line.replace("\t", " ")) != line]
    assert not strange, f"control characters: {strange[0]!r}"
    if code == 2:
        assert text.startswith("cnf-bench: "), text
    if code:
        raise UserError(f"exit code {code}")
    if "--json" in words:
        json.loads(text)
    return text


FOLDERS: dict[str, Parser] = {
    f"folder: {words[0]}": Parser(good, through(*words), chosen)
    for words in (
        ("claims", "FOLDER"),
        ("report", "FOLDER", "--out", "FOLDER"),
        ("show",),
        ("run", "fake.act/plain", "fake.train", "--out", "FOLDER"),
        ("status", "FOLDER"),
        ("doctor", "FOLDER"),
    )
}
