"""Which of two libraries multiplies two matrices faster on this machine: measured once, kept beside compiled code."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch._inductor.runtime.runtime_utils import cache_dir
from torch._subclasses.fake_tensor import unset_fake_temporarily

Product = Callable[[Tensor, Tensor], Tensor]
ROUNDS = 7
"""In each both multiply once; the fastest of each counts, which other work on the machine disturbs least."""
GAIN = 0.95
"""Time, as a share of torch's own product, below which the other is taken: a tie is torch's."""


class Choice:
    """Whether another product is faster than torch's own, matrix by matrix.

    Args:
        other: the other product.
        clock: seconds.
        file: where the answers are kept; None for beside torch's compiled code.
    """

    def __init__(
        self, other: Product, clock: Callable[[], float] = time.perf_counter, file: Path | None = None
    ) -> None:
        self.other, self.clock = other, clock
        self.file = file or Path(cache_dir()) / "cnf_bench_products.json"
        self.known: dict[str, bool] = {}

    def __call__(self, a: Tensor, b: Tensor) -> bool:
        """Return whether it is, for matrices of the sizes and layouts of a and b, whose values do not matter."""
        key = f"{machine()} {_layout(a)} {_layout(b)}"
        if key not in self.known:
            self.known |= self._read()
        if key not in self.known:
            self.known[key] = self._measure(a, b)
            self._write()
        return self.known[key]

    def _measure(self, a: Tensor, b: Tensor) -> bool:
        with unset_fake_temporarily(), torch.no_grad():
            matrices = _like(a), _like(b)
            best = {multiply: float("inf") for multiply in (torch.mm, self.other)}
            for _ in range(ROUNDS):
                for multiply in best:
                    start = self.clock()
                    multiply(*matrices)
                    best[multiply] = min(best[multiply], self.clock() - start)
        return best[self.other] < GAIN * best[torch.mm]

    def _read(self) -> dict[str, bool]:
        try:
            kept = json.loads(self.file.read_text())
        except (OSError, ValueError, RecursionError):
            return {}
        return {k: v for k, v in kept.items() if isinstance(v, bool)} if isinstance(kept, dict) else {}

    def _write(self) -> None:
        """Keep the answers, with those that other processes have kept; a machine that can't is measured again."""
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            draft = self.file.with_suffix(f".{os.getpid()}")
            with draft.open("x") as stream:
                stream.write(json.dumps(self._read() | self.known))
            draft.replace(self.file)


def machine() -> str:
    """Return what the speed of a product depends on beside its matrices: processor, torch and number of threads."""
    return f"{_processor()}, torch {torch.__version__}, {torch.get_num_threads()} threads:"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _layout(x: Tensor) -> str:
    return f"{tuple(map(int, x.shape))}{tuple(map(int, x.stride()))}"


def _like(x: Tensor) -> Tensor:
    """Return random numbers in the layout of a matrix."""
    shape, strides = tuple(map(int, x.shape)), tuple(map(int, x.stride()))
    size = 1 + sum((n - 1) * stride for n, stride in zip(shape, strides))
    return torch.rand(size).as_strided(shape, strides)
