"""Hand damaged inputs to one parser, in a process with limits of memory and of time an input."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from parsers import Parser

from bench.errors import UserError

SECONDS = 20.0
"""Time of an input."""
MEMORY = 2**30
"""Bytes that an input may take beyond what the process has."""
SHOWN = 3
COLUMNS = ("tried", "value", "error", "traceback", "crash", "slow", "large")
GOOD = ("value", "error")


@dataclass
class Ends:
    """How damaged inputs ended; all but a value and the typed error ought to be zero."""

    tried: int = 0
    value: int = 0
    error: int = 0
    traceback: int = 0
    crash: int = 0
    slow: int = 0
    large: int = 0
    slowest: float = 0.0
    memory: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """How many ended as none may."""
        return self.tried - self.value - self.error

    def count(self, how: str, number: int, note: str) -> None:
        """Count the end of an input."""
        self.tried += 1
        setattr(self, how, getattr(self, how) + 1)
        if how not in GOOD and self.failed <= SHOWN:
            self.notes.append(f"input {number}: {how}: {' '.join(note.split())[-500:]}")


def merged(parts: Iterable[Ends]) -> Ends:
    """Return the ends of several portions of inputs as one."""
    total = Ends()
    for part in parts:
        for column in COLUMNS:
            setattr(total, column, getattr(total, column) + getattr(part, column))
        total.slowest, total.memory = max(total.slowest, part.slowest), max(total.memory, part.memory)
        total.notes += part.notes[: max(SHOWN - len(total.notes), 0)]
    return total


def fuzz(
    name: str,
    parser: Parser,
    count: int,
    first: int = 0,
    seconds: float | None = None,
    memory: int | None = None,
) -> Ends:
    """Hand so many inputs to a parser; an input is the same for the same name and number.

    Args:
        name: of the parser.
        parser: what is called.
        count: how many inputs.
        first: number of the first.
        seconds: of an input; by default `SECONDS`.
        memory: of an input; by default `MEMORY`.
    """
    ends, following = Ends(), first
    while following < first + count:
        with tempfile.TemporaryDirectory(prefix="cnf-fuzz-") as scratch:
            following = _batch(
                name, parser, range(following, first + count), Path(scratch), ends, seconds, memory
            )
    return ends


def _batch(
    name: str,
    parser: Parser,
    numbers: range,
    scratch: Path,
    ends: Ends,
    seconds: float | None,
    memory: int | None,
) -> int:
    """Hand over inputs until all are or one ends its process; return the number of the next."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        with contextlib.suppress(BaseException), os.fdopen(writing, "w") as told:
            _child(name, parser, numbers, scratch, lambda *words: print(json.dumps(words), file=told, flush=True),
                   seconds or SECONDS, memory or MEMORY)  # fmt: skip
        os._exit(0)
    os.close(writing)
    begun = None
    with os.fdopen(reading) as lines:
        for line in lines:
            number, how, taken, grown, note = json.loads(line)
            if how == "begun":
                begun = number
            else:
                begun = None
                ends.count(how, number, note)
                ends.slowest, ends.memory = max(ends.slowest, taken), max(ends.memory, grown)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if begun is None:
        if code or ends.tried == 0:
            raise RuntimeError(f"{name}: the process ended with code {code} before any input")
        return numbers.stop
    how = "slow" if code == -signal.SIGALRM else "crash"
    ends.count(how, begun, f"the process ended with code {code}")
    return begun + 1


def _child(
    name: str,
    parser: Parser,
    numbers: range,
    scratch: Path,
    tell: Callable[..., None],
    seconds: float,
    memory: int,
) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    os.chdir(scratch)
    good = parser.good(scratch)
    _limit(memory)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in numbers:
        content = parser.mutate(good, random.Random(f"{name}/{number}"))
        tell(number, "begun", 0.0, 0, "")
        start = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, seconds)
        how, note = _end(parser, scratch, content)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
        tell(number, how, time.monotonic() - start, grown, note)


def _end(parser: Parser, folder: Path, content: bytes) -> tuple[str, str]:
    """Return how an input ended."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser.call(folder, content)
    except UserError as error:
        if "\n" in str(error):
            return "traceback", f"more than one line: {error}"
        return ("large" if "MemoryError" in str(error) else "error"), str(error)
    except MemoryError:
        return "large", traceback.format_exc()
    except BaseException:
        return "traceback", traceback.format_exc()
    return "value", ""


def _limit(memory: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
