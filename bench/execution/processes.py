"""No process of a run outlives the call that started it, whatever ends the call."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MARK = "CNF_BENCH_OUT"
"""Environment variable of every process of a run: the output folder that its call holds."""

_PR_SET_PDEATHSIG = 1
PROC = Path("/proc")


class Terminated(KeyboardInterrupt):
    """The call was ended by SIGTERM, as a scheduler or a container does."""


def mark(folder: Path) -> dict[str, str]:
    """Return the environment by which processes of runs into a folder are found."""
    return {MARK: str(folder.resolve())}


def end_with(parent: int) -> None:
    """Have the system end this process as soon as its parent has ended, even while it is stopped or in C code.

    Where the system has no such signal, nothing happens; the closed standard input tells as well.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before
        os._exit(1)


def end_group(pid: int) -> None:
    """End a process and all of its session that is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def end_leftovers(folder: Path, proc: Path = PROC) -> list[int]:
    """End what is left of earlier calls into a folder that this process holds, and return their numbers.

    They are known by their environment, so that a number that the system has given to another process since is safe.
    """
    wanted = f"{MARK}={folder.resolve()}".encode()
    ended = []
    for path in proc.glob("[0-9]*"):
        pid = int(path.name)
        if pid == os.getpid():
            continue
        with suppress(OSError):
            if wanted in (path / "environ").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)
                ended.append(pid)
    return ended


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end what is inside as Ctrl-C does, by an exception; in another thread than the main one nothing.

    Raises:
        Terminated: inside, at the signal.
    """

    def terminate(number: int, frame: Any) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
