"""No process of a run outlives the call that started it, whatever ends the call."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MARK, RUN = "CNF_BENCH_OUT", "CNF_BENCH_RUN"
"""Environment variables of every process of a run: the output folder that its call holds, and the run's id."""

_PR_SET_PDEATHSIG = 1
PROC = Path("/proc")


class Terminated(KeyboardInterrupt):
    """The call was ended by SIGTERM, as a scheduler or a container does, or by SIGHUP, as a terminal that is closed."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.number = number


def python() -> list[str]:
    """Return how a child's interpreter is started: it finds modules in the present folder only where this one does."""
    try:
        here = os.getcwd()
    except FileNotFoundError:
        here = ""
    return [sys.executable] if sys.path[:1] in ([""], [here]) else [sys.executable, "-P"]


def mark(folder: Path, run: str = "") -> dict[str, str]:
    """Return the environment by which processes of runs into a folder, or of one run, are found."""
    return {MARK: str(folder.resolve())} | ({RUN: run} if run else {})


def end_with(parent: int) -> None:
    """Have the system end this process as soon as its parent has ended, even while it is stopped or in C code.

    Where the system has no such signal, nothing happens; the closed standard input tells as well.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before
        os._exit(1)


def at_most(what: int, most: int) -> None:
    """Limit this process to so much of a resource of the system's, or to what it may have where that is less."""
    import resource

    hard = resource.getrlimit(what)[1]
    bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (bound, bound))


def end_group(pid: int) -> None:
    """End a process and all of its session that is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def end_leftovers(folder: Path, run: str = "", proc: Path = PROC) -> list[int]:
    """End what is left of earlier calls into a folder that this process holds, or of one run, and return their numbers.

    They are known by their environment, so that a number that the system has given to another process since is safe.
    """
    wanted = {os.fsencode(f"{key}={value}") for key, value in mark(folder, run).items()}
    ended = []
    for path in proc.glob("[0-9]*"):
        pid = int(path.name)
        if pid == os.getpid():
            continue
        with suppress(OSError):
            if wanted <= set((path / "environ").read_bytes().split(b"\0")):
                os.kill(pid, signal.SIGKILL)
                ended.append(pid)
    return ended


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end what is inside as Ctrl-C does, by an exception; one that is ignored stays ignored.

    In another thread than the main one nothing happens.

    Raises:
        Terminated: inside, at the signal.
    """

    def terminate(number: int, frame: Any) -> None:
        raise Terminated(number)

    with _handled(terminate, (signal.SIGTERM, signal.SIGHUP)):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no signal that ends a call interrupt what is inside: how the call puts things in order."""
    with _handled(signal.SIG_IGN, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
        yield


@contextmanager
def _handled(handler: Any, numbers: Iterable[int]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
