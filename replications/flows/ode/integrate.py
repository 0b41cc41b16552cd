"""Solve step by step, and keep what each accepted step started from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from replications.flows.ode.checkpoint import EAGER, Moment, Tensors, compiled_steps
from replications.flows.ode.counter import CountedField
from replications.flows.ode.guards import Watch
from replications.flows.ode.step import first_size, next_size, tableau


@dataclass
class Tape:
    """The accepted steps of a solve: time and signed size, and at the start (state,) or (state, first slope).

    Without `keep` nothing is written, for a solve without gradient.
    """

    keep: bool = True
    times: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    starts: list[Tensors] = field(default_factory=list)

    def add(self, t: float, size: float, *start: Tensor) -> None:
        """Write one step."""
        if not self.keep:
            return
        self.times.append(t)
        self.sizes.append(size)
        self.starts.append(start)


class March:
    """The steps of a watched field: forward, written on a tape, and back along it.

    Args:
        watch: the field, its solver and its budget. Compiled steps go around a `CountedField`, and tell it so.
        params: the parameters that get a gradient, by their names in the field.
        compiled: whether the steps are torch.compile's.
    """

    def __init__(self, watch: Watch, params: dict[str, Tensor], compiled: bool) -> None:
        self.watch, self.flat, self.method = watch, watch.flat, watch.solver.method
        self.tableau = tableau(self.method)
        self.steps = compiled_steps() if compiled else EAGER
        self.names, self.counted = list(params), None
        if compiled and isinstance(self.flat.field, CountedField):
            self.counted = self.flat.field
            self.flat = self.flat.around(self.counted.field)
            self.names = [name.removeprefix("field.") for name in params]

    def fixed(self, grid: list[float], y: Tensor, tape: Tape) -> Tensor:
        """Return the state at the end of a grid: torchdiffeq's but for rounding."""
        nodes, steps = self.tableau.nodes, [(t, after - t) for t, after in pairwise(grid)]
        # All at once: a tensor made in each step would cost as much as the step's own arithmetic.
        times = y.new_tensor([[t + c * size for c in nodes] for t, size in steps]).unbind()
        sizes = y.new_tensor([size for _, size in steps]).unbind()
        for (t, size), *when in zip(steps, times, sizes):
            tape.add(t, size, y)
            self._count(t, len(nodes))
            y, _ = self.steps.advance(self.flat, self.method, *when, y)
        return y

    def adaptive(self, t: float, y: Tensor, tape: Tape) -> Tensor:
        """Return the state at t1, where the last step ends, by torchdiffeq's control: its state but for rounding."""
        watch, solver, t1, nodes = self.watch, self.watch.solver, self.watch.t1, self.tableau.nodes
        slope = watch(torch.tensor(t, dtype=y.dtype, device=y.device), y)
        size = first_size(watch, t, y, slope)
        carried: tuple[Tensor, ...] = ()
        while t != t1:
            watch.check(t, size)
            after = t + size
            if abs(after - t) > abs(t1 - t):
                after, size = t1, t1 - t
            self._count(t, len(nodes) - 1)
            when = _moment(nodes, t, size, y)
            y_next, last, error = self.steps.attempt(self.flat, solver, *when, y, slope)
            ratio = float(error)
            if ratio <= 1:
                tape.add(t, size, y, *carried)
                t, y, slope = after, y_next, last
                carried = (last,) if self.tableau.carries else ()
            size = next_size(self.method, size, ratio)
        return y

    def pull_back(
        self, params: Tensors, t: float, size: float, start: Tensors, cotangents: Tensors
    ) -> tuple[Tensors, Tensors]:
        """Return the cotangents of the start of a step and its share of the gradient of the parameters."""
        nodes = self.tableau.needed
        self._count(t, len(nodes) - (len(start) - 1))
        when = _moment(nodes, t, size, start[0])
        named = dict(zip(self.names, params))
        return self.steps.pull_back(self.flat, self.method, named, when, start, cotangents)

    def _count(self, t: float, evaluations: int) -> None:
        self.watch.spend(t, evaluations)
        if self.counted is not None:
            self.counted.count(evaluations)


def _moment(nodes: Sequence[float], t: float, size: float, like: Tensor) -> Moment:
    """Return when the stages of a step are evaluated, and its size, in the type of the state."""
    times = torch.tensor([t + c * size for c in nodes], dtype=like.dtype, device=like.device)
    return times, torch.tensor(size, dtype=like.dtype, device=like.device)
