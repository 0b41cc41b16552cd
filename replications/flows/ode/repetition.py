"""What an evaluation of a field depends on beside its arguments, so that a step run again is the same step.

| what | how it is repeated |
|---|---|
| torch.autocast | the re-run is under what the solve was under |
| draws from torch's default generators, buffers that change | put back to what they were before the step |
| all else, such as a generator of its own | not at all: the value of the re-run differs, and is refused |
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from replications.flows.errors import RequestError
from replications.flows.ode.reach import modules_of


class Autocast:
    """What torch.autocast is set to now, for a device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device.type
        self.enabled = torch.is_autocast_enabled(self.device)
        self.dtype = torch.get_autocast_dtype(self.device) if self.enabled else None

    def again(self) -> AbstractContextManager[Any]:
        """Set it to that; without its cache, which would hold weights cast where there was no gradient."""
        if not self.enabled and not torch.is_autocast_enabled(self.device):
            return nullcontext()
        return torch.autocast(self.device, self.dtype, self.enabled, cache_enabled=False)


class Kept(NamedTuple):
    """A buffer, where it is, and its value."""

    owner: nn.Module
    name: str
    buffer: Tensor
    value: Tensor

    @property
    def changed(self) -> bool:
        """Whether it is another tensor by now or has another value; its version does not tell, as of a batch norm's."""
        return getattr(self.owner, self.name) is not self.buffer or not same(self.buffer, self.value)


class Snapshot(NamedTuple):
    """The states of the generators, and the buffers."""

    generators: list[Tensor]
    buffers: list[Kept]


class Memory:
    """The generators that an evaluation of a field may change, and the buffers of the modules that it can reach.

    Not the buffers that need a gradient. Solves in several threads that share a module's buffers disturb each other.
    """

    def __init__(self, field: Any, device: torch.device) -> None:
        self._slots = [slot for module in modules_of(field) for slot in _slots(module)]
        self._modules = [torch] if device.type == "cpu" else [torch, torch.get_device_module(device)]

    def snapshot(self) -> Snapshot:
        """Return all of it."""
        return Snapshot(self._generators(), [_kept(*slot) for slot in self._slots])

    def changes(self, snapshot: Snapshot) -> tuple[bool, bool]:
        """Return whether random numbers were drawn since, and whether a buffer was changed."""
        drawn = any(not torch.equal(a, b) for a, b in zip(snapshot.generators, self._generators()))
        return drawn, any(kept.changed for kept in snapshot.buffers)

    def restore(self, snapshot: Snapshot) -> None:
        """Put all of it back; buffers as copies, since a graph may hold those of now."""
        self._set_generators(snapshot)
        for kept in snapshot.buffers:
            setattr(kept.owner, kept.name, kept.value.clone())

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Go on with copies of the buffers, and undo all changes at the end."""
        snapshot = self.snapshot()
        try:
            self.restore(snapshot)
            yield
        finally:
            self._set_generators(snapshot)
            for kept in snapshot.buffers:
                setattr(kept.owner, kept.name, kept.buffer)

    def _set_generators(self, snapshot: Snapshot) -> None:
        for module, state in zip(self._modules, snapshot.generators):
            module.set_rng_state(state)

    def _generators(self) -> list[Tensor]:
        return [module.get_rng_state() for module in self._modules]


def _slots(module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Yield where the buffers of a module itself are that an evaluation may change."""
    for name, buffer in vars(module).get("_buffers", {}).items():
        if buffer is not None and not buffer.requires_grad and not is_lazy(buffer):
            yield module, name


def _kept(owner: nn.Module, name: str) -> Kept:
    buffer = getattr(owner, name)
    return Kept(owner, name, buffer, buffer.detach().clone())


def same(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors have the same values, which may not be numbers."""
    if a.layout is not torch.strided:
        a, b = a.to_dense(), b.to_dense()
    return torch.equal(a, b) or (
        a.is_floating_point() and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    )


def check_repetition(again: Tensor, before: Tensor, change: Tensor) -> None:
    """See that a re-run gave what it gave before.

    Args:
        again: the result of the re-run.
        before: what it was.
        change: what was computed, without what was added to it: the length that the difference is compared with.

    Raises:
        RequestError: they differ by more than rounding.
    """
    again, before = again.detach(), before.detach()
    if torch.equal(again, before) or not torch.isfinite(before).all():  # the solve has diverged, and says so
        return
    low = (
        torch.get_autocast_dtype(again.device.type)
        if torch.is_autocast_enabled(again.device.type)
        else again.dtype
    )
    rounding = 100 * torch.finfo(again.dtype).eps * before.abs().max()
    if not (again - before).abs().max() <= torch.finfo(low).eps ** 0.5 * change.abs().max() + rounding:
        raise RequestError(
            "evaluated again, the field gave another value: it draws or remembers; draw before the solve, or use "
            "gradient='backprop'"
        )
