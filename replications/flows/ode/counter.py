"""NFE: evaluations of a field, forward and backward apart."""

from __future__ import annotations

import torch

_graph_task = torch._C._current_graph_task_id


class Counter:
    """Counts the evaluations of a field that a solve or several are given it for.

    An evaluation is `backward` where autograd is running a backward pass when it happens: the adjoint's solve and the
    re-run of a checkpointed step, but not the differentiation of stored forward evaluations. It is `forward` otherwise.
    """

    def __init__(self) -> None:
        self._counts = [0, 0]  # forward, backward

    def count(self, evaluations: int = 1) -> None:
        """Count evaluations that happen now."""
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
