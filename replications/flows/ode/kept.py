"""What a solve keeps of its accepted steps for its gradient: where each started, and its graph or the way to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from torch import Tensor

from replications.flows.ode.repetition import Snapshot
from replications.flows.ode.step import Tensors


class Graph(NamedTuple):
    """A step with its graph: leaves for what it started from, (y_next, last slope), and `now()` from before."""

    start: Tensors
    ends: Tensors
    since: int


@dataclass
class Step:
    """An accepted step, or f(t0, y0) as one of size zero.

    Args:
        t: when it starts.
        size: signed.
        start: (state,) or (state, first slope).
        graph: of it, where it is kept.
        snapshot: of what the field remembered at the start, where it remembers something.
    """

    t: float
    size: float
    start: Tensors
    graph: Graph | None = None
    snapshot: Snapshot | None = None


@dataclass
class Checkpoints:
    """The accepted steps of a solve.

    Args:
        keep: whether any are kept; not in a solve without gradient.
        graphs: of how many steps, from the first, the graph is kept too.
        steps: those kept so far.
    """

    keep: bool = True
    graphs: float = 0
    steps: list[Step] = field(default_factory=list)

    @property
    def tapes(self) -> bool:
        """Whether the graph of the next step is to be kept."""
        return self.keep and len(self.steps) + 1 <= self.graphs

    def add(self, step: Step) -> None:
        """Keep a step."""
        if self.keep:
            self.steps.append(step)

    def take_starts(self) -> list[Tensor]:
        """Return what the steps started from, laid end to end, and keep only how much each had."""
        starts = [x for step in self.steps for x in step.start]
        self.widths = [len(step.start) for step in self.steps]
        for step in self.steps:
            step.start = ()
        return starts

    def take_steps(self, starts: list[Tensor]) -> list[Step]:
        """Return the steps, first to last, with what they started from; a graph is given away and serves once."""
        remaining, steps = iter(starts), list[Step]()
        for step, width in zip(self.steps, self.widths):
            start = tuple(next(remaining) for _ in range(width))
            steps.append(replace(step, start=start))
            step.graph = None
        return steps
