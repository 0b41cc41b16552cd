"""What of the machine a run may use: cores, threads, and how threads wait.

OpenMP threads that wait actively for each other take a core from whoever else runs: two of them beside one busy process
cost over ten times the time. So runs wait passively, small networks run on one thread, and runs at the same time are
pinned to cores of their own.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError

CGROUPS = Path("/sys/fs/cgroup")
TOPOLOGY = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class Cores:
    """What this process may use.

    Args:
        allowed: numbers of the processors it may run on, in order.
        quota: processors' worth of time its control group grants; None without a limit.
        siblings: the same processors, those of one physical core together; by default each is a core of its own.
    """

    allowed: tuple[int, ...]
    quota: float | None = None
    siblings: tuple[tuple[int, ...], ...] = ()

    @property
    def usable(self) -> int:
        """How many threads can run at the same time: at least 1."""
        granted = len(self.allowed) if self.quota is None else min(len(self.allowed), math.floor(self.quota))
        return max(1, granted)

    def shares(self, workers: int) -> list[tuple[int, ...]]:
        """Return the processors of each of some runs at the same time, disjoint as far as there are enough of them.

        Two processors of one core slow each other, so runs get whole cores as far as there are enough of those.
        """
        cores = self.siblings or tuple((n,) for n in self.allowed)
        if workers > len(cores):
            cores = tuple((n,) for core in cores for n in core)
        count = len(cores)
        if workers >= count:
            return [cores[i % count] for i in range(workers)]
        edges = [i * count // workers for i in range(workers + 1)]
        return [tuple(sorted(itertools.chain(*cores[a:b]))) for a, b in itertools.pairwise(edges)]


def cores() -> Cores:
    """Return what this process may use, by its affinity and the quota of its control group."""
    if hasattr(os, "sched_getaffinity"):
        allowed = tuple(sorted(os.sched_getaffinity(0)))
    else:
        allowed = tuple(range(os.cpu_count() or 1))
    return Cores(allowed, quota(), siblings(allowed))


def siblings(allowed: Sequence[int], root: Path = TOPOLOGY) -> tuple[tuple[int, ...], ...]:
    """Return some processors with those of one physical core together; each alone where the system does not say.

    Args:
        allowed: numbers of the processors.
        root: where the kernel describes processors.
    """
    cores: dict[str, list[int]] = {}
    for n in allowed:
        listed = _lines(root / f"cpu{n}" / "topology" / "thread_siblings_list")
        cores.setdefault(listed[0] if listed else str(n), []).append(n)
    return tuple(map(tuple, cores.values()))


def quota(root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """Return the processors' worth of time that the control groups of this process grant, None without a limit.

    The tightest limit counts, of the group and of those above it, by `cpu.max` (version 2: quota and period) and
    `cpu.cfs_quota_us` over `cpu.cfs_period_us` (version 1; -1 is no limit).

    Args:
        root: where control groups are mounted.
        membership: the kernel's list of this process's groups.
    """
    found = []
    for line in _lines(membership):
        _, _, line = line.partition(":")
        controllers, _, path = line.partition(":")
        if controllers in ("", "cpu", "cpu,cpuacct", "cpuacct,cpu"):
            for base in (root, root / "cpu", root / "cpu,cpuacct"):
                found += [limit for group in _ancestry(base, path) if (limit := _limit(group)) is not None]
    return min(found, default=None)


def _ancestry(base: Path, path: str) -> list[Path]:
    below = Path(path.lstrip("/"))
    return [base / below, *(base / above for above in below.parents)]


def _limit(group: Path) -> float | None:
    words = " ".join(_lines(group / "cpu.max")).split()
    if not words:
        words = [*_lines(group / "cpu.cfs_quota_us"), *_lines(group / "cpu.cfs_period_us")]
    if len(words) != 2 or not all(
        word.isdigit() and int(word) > 0 for word in words
    ):  # "max", "-1": no limit
        return None
    return int(words[0]) / int(words[1])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def asked_for(environment: Mapping[str, str]) -> int | None:
    """Return the number of threads that the user set by `OMP_NUM_THREADS`, None where it is not set.

    OpenMP takes a list, one number a level of nesting; the first counts.

    Raises:
        UserError: it is no positive number.
    """
    text = environment.get("OMP_NUM_THREADS", "").strip()
    if not text:
        return None
    first = text.split(",")[0].strip()
    if not (first.isascii() and first.isdigit() and int(first) > 0):
        raise UserError(f"OMP_NUM_THREADS is {text!r}, no positive number; set one, or unset it")
    return int(first)


def threads(declared: int, share: Sequence[int], machine: Cores, asked: int | None, workers: int = 1) -> int:
    """Return the number of threads of a run.

    What the user asked for, else what its experiment declares; at most what its share of the processors and of the
    quota lets run at the same time.
    """
    return max(1, min(asked or declared, len(share), machine.usable // workers))


def settings(count: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that give a process its threads; a wait policy that the user set stays.

    Raises:
        UserError: the wait policy is none.
    """
    return {"OMP_NUM_THREADS": str(count), "OMP_WAIT_POLICY": wait_policy(environment)}


def wait_policy(environment: Mapping[str, str]) -> str:
    """Return how threads wait for each other: `passive`, unless the user set `OMP_WAIT_POLICY`.

    Raises:
        UserError: it is neither `active` nor `passive`; OpenMP would wait actively for a while.
    """
    text = environment.get("OMP_WAIT_POLICY", "").strip()
    if text.lower() not in ("", "active", "passive"):
        raise UserError(f"OMP_WAIT_POLICY is {text!r}; set it to active or passive, or unset it")
    return text.lower() or "passive"


def pin(share: Sequence[int]) -> tuple[int, ...]:
    """Let this process and its threads run on some processors only; return those it may run on, () if unknown."""
    if not hasattr(os, "sched_setaffinity"):
        return ()
    with contextlib.suppress(OSError):  # taken from this process since
        os.sched_setaffinity(0, share)
    return tuple(sorted(os.sched_getaffinity(0)))
