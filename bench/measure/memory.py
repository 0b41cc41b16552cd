"""Peak memory: of live tensors, exact and repeatable, and of the whole process."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

QUIET_ENVIRONMENT = {"KINETO_LOG_LEVEL": "99", "TORCH_CPP_LOG_LEVEL": "ERROR"}
"""Silences what the CPU instrument's C++ side writes to standard error; torch reads it when imported."""


class Peak:
    """A measured peak; `bytes` exists once the measured block has ended."""

    bytes: int


@contextmanager
def peak_memory(device: str | torch.device = "cpu") -> Iterator[Peak]:
    """Measure the peak of live tensor bytes above the level at entry.

    With a_i > 0 the bytes of the i-th allocation and a_i < 0 those of a release,
    peak = max(0, max_k sum_{i<=k} a_i).

    On the CPU every request to torch's allocator on this thread or in its backward pass counts, to the byte:
    temporaries, tensors saved by autograd, compiled code. Memory that others own (NumPy's, scratch space
    inside BLAS) does not. Tensors from before that are released inside count as zero. On CUDA it is the peak
    of the caching allocator, which rounds requests up to 512 bytes, and earlier tensors that are released
    inside do lower the level.

    The CPU instrument keeps every request until the block ends, so measure one iteration rather than a
    training run, and take times and the process's own peak (`resident_peak`) elsewhere. It can not be nested.

    Args:
        device: where the tensors live, `cpu` or `cuda[:index]`.

    Yields:
        what holds `bytes` after the block.
    """
    gc.collect()  # or garbage from before could change when the collector runs, and with it the peak
    peak = Peak()
    measure = _cuda_peak(device, peak) if str(device).startswith("cuda") else _cpu_peak(peak)
    with measure:
        yield peak


@contextmanager
def _cuda_peak(device: str | torch.device, peak: Peak) -> Iterator[None]:
    from torch import cuda

    cuda.synchronize(device)
    cuda.reset_peak_memory_stats(device)
    before = cuda.memory_allocated(device)
    try:
        yield
    finally:
        cuda.synchronize(device)
        peak.bytes = cuda.max_memory_allocated(device) - before


@contextmanager
def _cpu_peak(peak: Peak) -> Iterator[None]:
    import torch

    engine: Any = torch._C._autograd
    kineto: Any = torch._C._profiler

    # torch.profiler would record every operator too; a scope that never occurs leaves only the memory events.
    settings = kineto.ProfilerConfig(
        kineto.ProfilerState.KINETO,
        report_input_shapes=False,
        profile_memory=True,
        with_stack=False,
        with_flops=False,
        with_modules=False,
        experimental_config=kineto._ExperimentalConfig(),
    )
    activities = {kineto.ProfilerActivity.CPU}
    engine._prepare_profiler(settings, activities)
    engine._enable_profiler(settings, activities, {kineto.RecordScope.STATIC_RUNTIME_MODEL})
    try:
        yield
    finally:
        peak.bytes = _highest_level(_requests(engine._disable_profiler().experimental_event_tree()))


def _requests(events: Iterable[Any]) -> Iterator[tuple[int, int]]:
    """Yield (address, bytes) of each CPU allocation, bytes negative for a release, in the order of time."""
    from torch._C._profiler import _EventType

    for event in sorted(events, key=lambda e: e.start_time_ns):
        if event.tag == _EventType.Allocation and event.extra_fields.device.type == "cpu":
            yield event.extra_fields.ptr, event.extra_fields.alloc_size


def _highest_level(requests: Iterable[tuple[int, int]]) -> int:
    """Return the peak of the bytes that are live; a release of what was not allocated here counts as zero."""
    live: dict[int, int] = {}
    level = peak = 0
    for address, size in requests:
        if size > 0:
            live[address] = size
            level += size
            peak = max(peak, level)
        else:
            level -= live.pop(address, 0)
    return peak


def resident_peak() -> int:
    """Return the largest resident set this process has had, in bytes.

    On Linux it is `VmHWM`: `ru_maxrss` would start a spawned child at its parent's size.
    """
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS
