"""NFE: evaluations of a field, counted in a wrapper, forward and backward apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

State = Tensor | tuple[Tensor, ...]
"""What a field maps to its time derivative: one tensor, or a tuple of them."""

_graph_task = torch._C._current_graph_task_id


class CountedField(nn.Module):
    """A field `(t, state) -> dstate/dt` that counts its evaluations.

    An evaluation is `backward` where autograd is running a backward pass when it happens: the adjoint's solve
    and the re-run of a checkpointed step, but not the differentiation of stored forward evaluations. It is
    `forward` otherwise. The wrapper's parameters are the field's, under the prefix `field.`; the field itself
    is unchanged. To compile, compile the field inside and not the wrapper.

    Args:
        field: module or plain function; it stays reachable as `.field`.
    """

    field: Callable[[Any, State], State]

    def __init__(self, field: Callable[[Any, State], State]) -> None:
        super().__init__()
        self.field = field
        # An instance attribute is found before `Module.__getattr__`, which would cost more than the count.
        self.__dict__["field"] = field
        self._counts = [0, 0]  # forward, backward

    def forward(self, t: Any, state: State) -> State:
        """Evaluate the field and count it."""
        self._counts[_graph_task() != -1] += 1
        return self.field(t, state)

    __call__ = forward  # the wrapper needs no hooks, and looking for them would double its cost

    def count(self, evaluations: int) -> None:
        """Count evaluations of the field that went around the wrapper, as those of a compiled step do."""
        self._counts[_graph_task() != -1] += evaluations

    @property
    def forward_evaluations(self) -> int:
        """Evaluations outside any backward pass since the last reset."""
        return self._counts[0]

    @property
    def backward_evaluations(self) -> int:
        """Evaluations inside a backward pass since the last reset."""
        return self._counts[1]

    def reset(self) -> None:
        """Set both counts to zero."""
        self._counts[:] = 0, 0
