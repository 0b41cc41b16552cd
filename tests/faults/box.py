"""Where one attack is played: a temporary folder, the real command in it, and the count of what went wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.record import SETTLED, read

ROOT = Path(__file__).resolve().parents[2]
FAKE = ROOT / "tests" / "fake"
MARK = "CNF_FAULTS_BOX"
"""Environment variable of every process that an attack starts: its folder."""
PATIENCE = 300.0
"""Seconds after which a command is stuck."""
GRACE = 5.0
"""Seconds in which processes of a command that has ended must have ended too."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass
class Tally:
    """What an attack led to; all but `tried` ought to be zero."""

    tried: int = 0
    lost: int = 0
    wrong: int = 0
    silent: int = 0
    stuck: int = 0
    orphans: int = 0
    unclear: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """How often something went wrong."""
        return self.lost + self.wrong + self.silent + self.stuck + self.orphans + self.unclear


COLUMNS = ("tried", "lost", "wrong", "silent", "stuck", "orphans", "unclear")


@dataclass(frozen=True)
class Ended:
    """How a command ended; `code` is None where it was stuck."""

    code: int | None
    out: str
    err: str


class Untried(Exception):
    """This system does not let the attack be played."""


class Box:
    """A folder of one attack, and what was seen to go wrong in it.

    Args:
        folder: empty.
        good: an output folder of real runs, to be copied.
    """

    def __init__(self, folder: Path, good: Path) -> None:
        self.folder, self.good = folder, good
        self.tally = Tally()
        self._guarded: dict[Path, bytes | str] = {}
        self._settled: list[tuple[Path, str]] = []
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join((str(FAKE), str(ROOT))),
            "CNF_BENCH_DATA": "",
            "CNF_BENCH_CACHE": str(folder / "cache"),
            "HOME": str(folder),
            "http_proxy": "http://127.0.0.1:9",
            "https_proxy": "http://127.0.0.1:9",
            "no_proxy": "127.0.0.1",
            MARK: str(folder),
        }

    # -- what must survive ----------------------------------------------------------------------------------

    def mine(self, name: str | Path, content: bytes = b"of the user") -> Path:
        """Put a file of the user's own somewhere; it must still be there at the end, as it is."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self._guarded[path] = content
        return path

    def link(self, name: str | Path, target: str | Path) -> Path:
        """Put a link somewhere; it must still be there at the end, and point to the same."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
        self._guarded[path] = str(target)
        return path

    def results(self, name: str = "results", guarded: bool = True) -> Path:
        """Return a copy of the output folder of real runs, whose settled records must be there at the end."""
        folder = self.folder / name
        shutil.copytree(self.good, folder)
        if guarded:
            self._settled += [(p, p.read_text()) for p in records(folder)]
        return folder

    def paper(self, name: str = "paper") -> Path:
        """Return a copy of the paper made for tests, to be changed."""
        return Path(shutil.copytree(FAKE, self.folder / name))

    def with_paper(self, folder: Path) -> dict[str, str]:
        """Return the environment in which that paper is the one that is found."""
        return {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}

    # -- playing --------------------------------------------------------------------------------------------

    def start(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        **options: Any,
    ) -> Any:
        """Start the command, as the installed one runs: the present folder is no place of modules."""
        self.tally.tried += 1
        settings: dict[str, Any] = {
            "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": self.folder,
            "start_new_session": True, "env": {**self.environment, **(env or {})},
        }  # fmt: skip
        command = [*before, sys.executable, "-P", "-m", "bench", *map(str, arguments)]
        return subprocess.Popen(command, **(settings | options))

    def call(
        self,
        *arguments: str | Path,
        code: int | Sequence[int] | None = None,
        says: str | Sequence[str] = (),
        limit: float = PATIENCE,
        **options: Any,
    ) -> Ended:
        """Run the command to its end and judge it: exit code, words of its message, no traceback, no control sequence.

        Args:
            arguments: of the command.
            code: the exit codes that are right; None takes any that is documented.
            says: what standard error or output must name.
            limit: seconds.
            options: of `start`.
        """
        ended = self.finish(self.start(*arguments, **options), limit)
        self.judge(ended, code, says, " ".join(map(str, arguments))[:80])
        return ended

    def finish(self, process: Any, limit: float = PATIENCE) -> Ended:
        """Wait for a command; one that is stuck is ended."""
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            self.count("stuck", f"no end after {limit:g} s")
            return Ended(None, "", "")
        return Ended(process.returncode, _text(out), _text(err))

    def judge(
        self, ended: Ended, code: int | Sequence[int] | None, says: str | Sequence[str], what: str
    ) -> None:
        """Count what is wrong with how a command ended."""
        if ended.code is None:
            return
        wanted = (0, 1, 2, 3, 130, 143) if code is None else (code,) if isinstance(code, int) else tuple(code)
        text = ended.out + ended.err
        if ended.code not in wanted:
            fault = "silent" if ended.code == 0 else "wrong"
            self.count(fault, f"{what}: exit code {ended.code}, not {wanted}: {ended.err[-300:]}")
        if "Traceback (most recent" in text:
            self.count("unclear", f"{what}: traceback: {ended.err[-300:]}")
        elif _CONTROL.search(text):
            self.count("unclear", f"{what}: control characters are printed")
        elif ended.code == 2 and not says and not re.search("^(cnf-bench: |Usage:)", ended.err, re.MULTILINE):
            self.count("unclear", f"{what}: {ended.err[-300:]!r} is no message of ours")
        words = [says] if isinstance(says, str) else says
        for word in words:
            if " ".join(word.split()) not in " ".join(text.split()):
                self.count("unclear", f"{what}: does not say {word!r}: {ended.err[-300:]}")

    def refused(self, call: Callable[[], Any], says: str = "", kinds: Any = UserError) -> None:
        """Call the library; it must end in the typed error, in one line that says something."""
        self.tally.tried += 1
        try:
            value = call()
        except kinds as error:
            if "\n" in str(error) or says not in str(error):
                self.count("unclear", f"it says {str(error)!r:.200}, not {says!r}")
        except Exception as error:
            self.count("unclear", f"{type(error).__name__}: {error!s:.200}")
        else:
            self.count("silent", f"it was not refused but gave {value!r:.100}")

    # -- judging --------------------------------------------------------------------------------------------

    def count(self, fault: str, note: str) -> None:
        """Count a fault of a kind."""
        setattr(self.tally, fault, getattr(self.tally, fault) + 1)
        self.tally.notes.append(f"{fault}: {' '.join(note.split())[:400]}")

    def check(self, held: Any, note: str, fault: str = "wrong") -> None:
        """Count a fault where something does not hold."""
        if not held:
            self.count(fault, note)

    def close(self) -> Tally:
        """Count what was lost and which processes are left, end those, and return the tally."""
        for path, content in self._guarded.items():
            self.check(_is(path, content), f"{path.name} is not as it was", "lost")
        for path, content in self._settled:
            self.check(_still(path, content), f"record {path.name} is gone", "lost")
        end = time.monotonic() + GRACE
        while (left := processes(self.folder)) and time.monotonic() < end:
            time.sleep(0.05)
        for pid in left:
            self.count("orphans", f"process {pid} is left")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return self.tally


def bound() -> list[str]:
    """Return what makes permissions bind a command: where root starts it, it loses the right to pass over them.

    Raises:
        Untried: the system has no such program.
    """
    if os.getuid():
        return []
    return [_program("setpriv"), "--bounding-set=-dac_override,-dac_read_search"]


def small_disk(folder: Path, size: str) -> list[str]:
    """Return what gives a command a disk of its own of some size at a folder; what is on it is copied there at the end.

    Raises:
        Untried: the system lets nobody mount one.
    """
    script = (
        f'd="$1"; shift; mkdir -p "$d.kept" "$d"; mount -t tmpfs -o size={size} none "$d" || exit 99; "$@"; code=$?; '
        'cp -a "$d/." "$d.kept"; umount "$d"; cp -a "$d.kept/." "$d"; exit $code'
    )
    start = [_program("unshare"), "--user", "--map-root-user", "--mount"]
    folder.mkdir(exist_ok=True)
    tried = subprocess.run(
        [*start, "mount", "-t", "tmpfs", "none", str(folder)], capture_output=True, check=False
    )
    if tried.returncode:
        raise Untried("no disk can be mounted here")
    return [*start, "sh", "-c", script, "sh", str(folder)]


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Untried(f"there is no {name} here")
    return found


def records(folder: Path) -> list[Path]:
    """Return the records of an output folder."""
    return sorted((folder / "records").glob("*/*.json"))


def statuses(folder: Path) -> list[str]:
    """Return the status of every record of an output folder that can be read, by path."""
    found = []
    for path in records(folder):
        with contextlib.suppress(UserError):
            found.append(read(path).status)
    return found


def processes(folder: Path) -> list[int]:
    """Return the processes that an attack in a folder has started and that have not ended."""
    wanted, found = f"{MARK}={folder}".encode(), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") and int(pid) != os.getpid():
                found.append(int(pid))
    return found


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE) -> bool:
    """Wait until something holds, and tell whether it did in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _is(path: Path, content: bytes | str) -> bool:
    if isinstance(content, str):
        return path.is_symlink() and os.readlink(path) == content
    return path.is_file() and not path.is_symlink() and path.read_bytes() == content


def _still(path: Path, content: str) -> bool:
    """Tell whether a settled record is in its place, be it one of a later run, or was kept beside it as it was."""
    if not path.exists():
        return any(p.is_file() and p.read_text(errors="replace") == content for p in _beside(path))
    if path.read_text(errors="replace") == content:
        return True
    with contextlib.suppress(UserError):
        return read(path).status in SETTLED
    return False


def _beside(path: Path) -> list[Path]:
    return [p for p in path.parents[2].rglob(f"{path.name}*") if not p.is_symlink()]


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "replace")


Attack = Callable[[Box], None]


@dataclasses.dataclass(frozen=True)
class Listed:
    """An attack of the list: its kind, and what plays it."""

    kind: str
    play: Attack

    @property
    def what(self) -> str:
        """One line that tells what is done."""
        return " ".join((self.play.__doc__ or self.play.__name__).split()).rstrip(".")


ATTACKS: list[Listed] = []


def attack(kind: str) -> Callable[[Attack], Attack]:
    """Put a function into the list of attacks."""

    def listed(play: Attack) -> Attack:
        ATTACKS.append(Listed(kind, play))
        return play

    return listed
