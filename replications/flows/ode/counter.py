"""NFE: evaluations of a field, forward and backward apart; and how the gradients of its solves were got."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import Tensor

from replications.flows.means import mean_over_points
from replications.flows.ode.internals import in_backward

Result = TypeVar("Result")


class Counter:
    """Counts the evaluations of a field that a solve or several are given it for.

    An evaluation is `backward` where autograd is running a backward pass when it happens: the adjoint's solve and the
    re-run of a checkpointed step, but not the differentiation of stored forward evaluations. It is `forward` otherwise.

    Attributes:
        taped: accepted steps whose graph was kept for the gradient, since the last reset.
        checkpointed: accepted steps of which only the start was kept.
    """

    def __init__(self) -> None:
        self.reset()

    def count(self, evaluations: int = 1) -> None:
        """Count evaluations that happen now."""
        self._counts[in_backward()] += evaluations

    @property
    def forward_evaluations(self) -> int:
        """Evaluations outside any backward pass since the last reset."""
        return self._counts[0]

    @property
    def backward_evaluations(self) -> int:
        """Evaluations inside a backward pass since the last reset."""
        return self._counts[1]

    def reset(self) -> None:
        """Set all counts to zero."""
        self._counts = [0, 0]  # forward, backward
        self.taped = self.checkpointed = 0


def counted(
    counter: Counter, solve: Callable[[Tensor], Result], parts: Sequence[Tensor]
) -> tuple[list[Result], float]:
    """Return what a solve makes of each batch, and its forward evaluations, the mean over the points.

    The points of a batch share their steps, so each has the evaluations of its batch.

    Args:
        counter: of the solves; it is reset.
        solve: batch `(B, *S)` -> anything.
        parts: the batches.

    Raises:
        ValueError: no batch, or one without points.
    """
    found, counts = [], []
    for part in parts:
        counter.reset()
        found.append(solve(part))
        counts.append(counter.forward_evaluations)
    return found, mean_over_points(counts, map(len, parts))
