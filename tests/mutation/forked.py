"""Run tests on a changed source, each in a child that is forked once the heavy libraries are imported."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
MEMORY = 16 << 30
"""Bytes of address space of a child: a change must not fill the machine's memory."""
STILLBORN = 70
"""Exit code of a child in which the changed module can not even be imported: no test is needed to see that."""


@dataclass(frozen=True)
class Work:
    """What one child does: the file that is changed, its whole text, the tests.

    After `limit` seconds it hangs. What it prints goes to the file `output`.
    """

    source: str
    text: str
    tests: Sequence[str]
    limit: float
    output: str = os.devnull


@dataclass(frozen=True)
class End:
    """How it went: `survived`, `noticed`, `hung` or `stillborn`, and how long it took in seconds."""

    how: str
    seconds: float


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module, with another text in place of its own."""

    def __init__(self, name: str, path: Path, text: str) -> None:
        self.name, self.path, self.text = name, path, text

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the module's specification where it is the changed one."""
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def create_module(self, spec: Any) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed text as the module."""
        exec(self.get_code(self.name), module.__dict__)

    def get_code(self, name: str) -> CodeType:
        """Return the changed text compiled; `runpy` asks for it."""
        return compile(self.text, str(self.path), "exec")


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


def run_all(
    waiting: Sequence[Work], workers: int, told: Callable[[Work, End], None] = lambda work, end: None
) -> list[End]:
    """Run all, some at a time; return how each ended, in the order given."""
    ends: dict[int, End] = {}
    running: dict[int, tuple[int, float]] = {}
    begun = iter(enumerate(waiting))
    while len(ends) < len(waiting):
        while len(running) < workers and (following := next(begun, None)):
            running[_start(following[1])] = following[0], time.monotonic()
        for pid, (place, start) in list(running.items()):
            seconds = time.monotonic() - start
            how = _ended(pid, seconds > waiting[place].limit)
            if how:
                del running[pid]
                ends[place] = End(how, seconds)
                told(waiting[place], ends[place])
        time.sleep(0.02)
    return [ends[place] for place in range(len(waiting))]


def _start(work: Work) -> int:
    """Return the process id of a child that does it, the leader of a group of its own."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        try:
            code = _child(work)
        except BaseException:  # whatever a change leads to, a fork never goes on as if it were the parent
            code = 1
        os._exit(code)
    return pid


def _ended(pid: int, late: bool) -> str:
    """Return how a child ended, nothing while it runs; one that is late is killed, with all that it started."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if ended:
        return {0: "survived", STILLBORN: "stillborn"}.get(os.waitstatus_to_exitcode(status), "noticed")
    if late:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return "hung"
    return ""


def _child(work: Work) -> int:
    """Run the tests on the changed source in this process; return pytest's exit code."""
    import pytest

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with open(work.output, "w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    name = work.source.removesuffix(".py").replace("/", ".")
    sys.meta_path.insert(0, _Changed(name, ROOT / work.source, work.text))
    try:
        importlib.import_module(name)
    except Exception:
        return STILLBORN
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *work.tests]))
