"""The session of damaged inputs counts every end as what it is; the real parsers have none that is a fault."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fuzz import folders, run
from fuzz.converted import CONVERTED, packed, photographs
from fuzz.folders import FOLDERS
from fuzz.run import table
from fuzz.runner import Ends, fuzz, merged
from parsers import Parser

from bench.errors import UserError

COUNT = 4
FEW = {**dict.fromkeys(CONVERTED, 6), **dict.fromkeys(FOLDERS, 4)}


def planted(fault: Callable[[], Any]) -> Parser:
    """Return a parser that has a fault at every second input."""

    def call(folder: Path, content: bytes) -> None:
        if int(content) % 2:
            fault()

    numbers = iter(range(100))
    return Parser(lambda _: b"", call, lambda _, rng: str(next(numbers)).encode())


def refuse() -> None:
    raise UserError("no good")


def ramble() -> None:
    raise UserError("no\ngood")


def swallow() -> None:
    try:
        bytearray(2**31)
    except Exception as error:
        raise UserError(f"cannot read x: {type(error).__name__}") from error


@pytest.mark.parametrize(
    ("fault", "how"),
    [
        (refuse, "error"),
        (ramble, "traceback"),
        (lambda: 1 / 0, "traceback"),
        (lambda: exit(0), "traceback"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "crash"),
        (lambda: os._exit(0), "crash"),
        (lambda: time.sleep(9), "slow"),
        (lambda: bytearray(2**31), "large"),
        (swallow, "large"),
    ],
)
def test_an_end_is_counted_as_what_it_is(fault, how) -> None:
    ends = fuzz("planted", planted(fault), COUNT, seconds=0.2)
    assert (ends.tried, ends.value, getattr(ends, how)) == (COUNT, COUNT - 2, 2)
    assert ends.failed == (0 if how == "error" else 2)


def test_an_input_is_the_same_for_the_same_number(tmp_path) -> None:
    def keep(_: Path, content: bytes) -> None:
        with (tmp_path / "seen").open("ab") as stream:
            stream.write(content)

    parser = Parser(lambda _: b"", keep, lambda _, rng: rng.randbytes(4))
    fuzz("planted", parser, 4)
    fuzz("planted", parser, 2, first=2)
    seen = (tmp_path / "seen").read_bytes()
    assert len(seen) == 24
    assert seen[8:16] == seen[16:]


@pytest.mark.parametrize("name", FEW)
def test_what_is_not_damaged_is_read(fake_paper, monkeypatch, name: str) -> None:
    monkeypatch.setattr(folders, "damaged", lambda place, rng: set(place.rglob("*.json")))
    pack = {"CIFAR-10": packed, "photographs": photographs}.get(name, bytes)
    parser = replace((CONVERTED | FOLDERS)[name], mutate=lambda whole, _: pack(whole))
    assert fuzz(name, parser, 1).value == 1


@pytest.mark.parametrize("name", FEW)
def test_a_damaged_file_or_folder_ends_in_a_value_or_the_typed_error(fake_paper, name: str) -> None:
    parser = (CONVERTED | FOLDERS)[name]
    ends = fuzz(name, parser, FEW[name])
    assert ends.notes == []
    assert ends.failed == 0


def test_the_table_shows_every_parser_and_fault() -> None:
    ends = Ends(tried=3, value=1, error=1, crash=1, notes=["input 7: crash: it ended"])
    text = table({"npy": Ends(tried=1, value=1), "toml": ends}, datetime.now(UTC), "nox -s fuzz")
    assert "| toml | 3 | 1 | 1 | 0 | 1 | 0 | 0 | 0.0 | 0 |" in text
    assert "- toml: input 7: crash: it ended" in text


def test_portions_add_up() -> None:
    parts = [Ends(tried=2, value=1, crash=1, slowest=2.0, memory=1, notes=["a", "b"]),
             Ends(tried=1, error=1, slowest=1.0, memory=3, notes=["c", "d"])]  # fmt: skip
    assert merged(parts) == Ends(3, value=1, error=1, crash=1, slowest=2.0, memory=3, notes=["a", "b", "c"])


def test_a_session_that_was_ended_goes_on_and_shows_all(tmp_path, monkeypatch) -> None:
    taken: list[tuple[int, int]] = []

    def hand_over(name: str, parser: Parser, count: int, first: int) -> Ends:
        if len(taken) == 3:
            raise KeyboardInterrupt
        taken.append((first, count))
        return Ends(tried=count, value=count)

    monkeypatch.setattr(run, "ALL", {"npy": planted(refuse)})
    monkeypatch.setattr(run, "fuzz", hand_over)
    words = ["--count", "1700", "--kept", str(tmp_path / "kept"), "--out", str(tmp_path / "fuzz.md")]
    with pytest.raises(KeyboardInterrupt):
        run.main(words)
    with (tmp_path / "kept").open("a") as stream:
        stream.write('\n{"parser": "npy", "first"')
    taken.clear()
    assert run.main([*words, "--table"]) == 0
    assert taken == []
    assert "| npy | 1500 | 1500 | 0 |" in (tmp_path / "fuzz.md").read_text()
    assert run.main(words) == 0
    assert run.main(words) == 0
    assert taken == [(1500, 200)]
    assert "| npy | 1700 | 1700 | 0 |" in (tmp_path / "fuzz.md").read_text()
