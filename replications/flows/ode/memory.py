"""How many graphs of steps fit in memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

SHARE = 0.25
"""Of the free memory, that graphs of a solve may fill."""


def free_bytes(device: torch.device) -> float:
    """Return the free memory of a device; infinite where nothing tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(_available(), _group_left())


def _available() -> float:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return 1024.0 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        pass
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf


def _group_left(group: Path = Path("/sys/fs/cgroup")) -> float:
    """Return what a container's limit leaves."""
    try:
        limit, used = ((group / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        return math.inf if limit == "max" else max(0.0, float(limit) - float(used))
    except (OSError, ValueError):
        return math.inf


class Saved:
    """The bytes that a graph keeps for its backward pass, each storage once, without those of some tensors."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Look at the graph that is made now."""
        with saved_tensors_hooks(self._keep, lambda x: x):
            yield

    def _keep(self, x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        self.storages[storage.data_ptr()] = storage.nbytes()
        return x

    def bytes_without(self, tensors: tuple[Tensor, ...]) -> int:
        """Return them."""
        left_out = {x.untyped_storage().data_ptr() for x in tensors}
        return sum(size for pointer, size in self.storages.items() if pointer not in left_out)
