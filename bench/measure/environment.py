"""What a run ran on: source, versions, machine, numerical settings."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("bench", "replications", "pyproject.toml")
DISTRIBUTIONS = ("torch", "torchdiffeq", "numpy", "scipy", "cnf-bench")


def environment(device: str | torch.device = "cpu") -> dict[str, Any]:
    """Return, as JSON-able values, what a measurement depends on; no host or user name.

    Keys: `commit` and `dirty` (of the source tree, None where it is no checkout), `versions`, `platform`, `cpu`,
    `device`, `gpu` (None, or `name`, `driver`, `cuda`), and the numerical settings `threads`, `dtype`,
    `deterministic`, `tf32` (`matmul`, `cudnn`) and `float32_matmul_precision`.
    """
    commit, dirty = source_state(ROOT)
    return {
        "commit": commit,
        "dirty": dirty,
        "versions": {"python": platform.python_version(), **{d: _version(d) for d in DISTRIBUTIONS}},
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "device": str(device),
        "gpu": _gpu(device) if str(device).startswith("cuda") else None,
    } | _numerical_settings()


def source_state(root: Path) -> tuple[str | None, bool | None]:
    """Return the commit of a source tree and whether its sources differ from it; (None, None) if no checkout.

    A tree that merely lies inside another repository (an installed copy) is no checkout.
    """
    head = _output("git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD")
    if head is None:
        return None, None
    top, commit = head.splitlines()
    if Path(top).resolve() != root.resolve():
        return None, None
    changes = _output("git", "--no-optional-locks", "-C", str(root), "status", "--porcelain", "--", *SOURCES)
    return commit, None if changes is None else changes != ""


def _output(*command: str) -> str | None:
    """Return what a command prints, None where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _gpu(device: str | torch.device) -> dict[str, str | None]:
    import torch

    driver = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return {
        "name": torch.cuda.get_device_name(device),
        "driver": driver.splitlines()[0] if driver else None,
        "cuda": torch.version.cuda,
    }


def _numerical_settings() -> dict[str, Any]:
    import torch

    return {
        "threads": torch.get_num_threads(),
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "tf32": {"matmul": _tf32(torch.backends.cuda.matmul), "cudnn": _tf32(torch.backends.cudnn)},
        "float32_matmul_precision": _matmul_precision(),
    }


def _tf32(backend: Any) -> bool:
    switch = getattr(backend, "conv", backend)
    if hasattr(switch, "fp32_precision"):  # reading the older switch fails once the newer one has been set
        return switch.fp32_precision == "tf32"
    return backend.allow_tf32


def _matmul_precision() -> str:
    import torch

    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return torch.backends.cuda.matmul.fp32_precision
