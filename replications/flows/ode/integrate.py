"""Solve step by step, forward and back, and keep what each accepted step started from."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from replications.flows.ode.controller import initial_step, next_step
from replications.flows.ode.guards import GuardedField
from replications.flows.ode.internals import now
from replications.flows.ode.kept import Checkpoints, Graph, Step
from replications.flows.ode.repetition import Memory, Snapshot
from replications.flows.ode.sources import Sources
from replications.flows.ode.state import norm
from replications.flows.ode.step import EAGER, Moment, Tensors, advance, compiled_steps, moment
from replications.flows.ode.tableau import tableau

NO_SOURCES = Sources({})


class Integrator:
    """Takes the steps of a field: forward, keeping them, and back from one to the one before.

    Args:
        guarded: the field, its solver and its budget.
        sources: the tensors that get a gradient.
        compiled: whether the steps are torch.compile's.
        memory: of the field, where an evaluation changes it.
        before: the memory before the solve.
    """

    def __init__(
        self,
        guarded: GuardedField,
        sources: Sources = NO_SOURCES,
        compiled: bool = False,
        memory: Memory | None = None,
        before: Snapshot | None = None,
    ) -> None:
        self.guarded, self.method, self.sources = guarded, guarded.solver.method, sources
        self.field, self.shapes = guarded.field, guarded.shapes
        self.tableau, self.memory, self.before = tableau(self.method), memory, before
        self.steps = compiled_steps() if compiled else EAGER

    def fixed(self, grid: list[float], y: Tensor, kept: Checkpoints) -> Tensor:
        """Return the state at the end of a grid: torchdiffeq's but for rounding."""
        nodes, steps = self.tableau.nodes, [(t, after - t) for t, after in pairwise(grid)]
        # All at once: a tensor made in each step would cost as much as the step's own arithmetic.
        times = y.new_tensor([[t + c * size for c in nodes] for t, size in steps]).unbind()
        sizes = y.new_tensor([size for _, size in steps]).unbind()
        if self.steps is EAGER:
            self._tape_opening(y, kept)
        # A compiled step that is handed a slope would be another one, to be compiled for the first step alone.
        slope = self.guarded.take_opening() if self.steps is EAGER else None
        for (t, size), when_t, when_h in zip(steps, times, sizes):
            snapshot, self.before = self.before or self._snapshot(), None
            self.guarded.spend(t, len(nodes))
            start: Tensors = (y,) if slope is None else (y, slope)
            y_next, graph = self._advance((when_t, when_h), start, kept.tapes)
            kept.add(Step(t, size, start if graph else (y,), graph, snapshot))
            y, slope = y_next, None
        return y

    def adaptive(self, t: float, y: Tensor, kept: Checkpoints) -> Tensor:
        """Return the state at t1, where the last step ends: torchdiffeq's but for rounding."""
        guarded, solver, t1, nodes = self.guarded, self.guarded.solver, self.guarded.t1, self.tableau.nodes
        self._tape_opening(y, kept)
        slope = self._slope(t, y)
        handed: Tensors = (slope,) if kept.steps else ()
        size = initial_step(self._slope, solver, t, guarded.sign, y, slope, partial(norm, shapes=self.shapes))
        while t != t1:
            guarded.check(t, size)
            after = t + size
            if abs(after - t) > abs(t1 - t):
                after, size = t1, t1 - t
            guarded.spend(t, len(nodes) - 1)
            snapshot, tapes = self._snapshot(), kept.tapes
            since, start = (now(), _leaves((y, slope))) if tapes else (0, (y, slope))
            when = moment(nodes, t, size, y)
            with torch.set_grad_enabled(tapes):
                y_next, last, error = self.steps.attempt(self.field, self.shapes, solver, *when, *start)
            ratio = float(error)
            if ratio <= 1:
                graph = Graph(start, (y_next, last), since) if tapes else None
                kept.add(Step(t, size, (y, *handed), graph, snapshot))
                t, y, slope = after, y_next.detach(), last.detach()
                handed = (slope,) if tapes or self.tableau.hands_over else ()
            size = next_step(self.method, size, ratio)
        return y

    def rerun(self, step: Step, hands_over: bool) -> Graph:
        """Take a step again, with its graph; count it.

        Args:
            step: it.
            hands_over: whether the gradient reaches its last slope too, or only y_next.
        """
        nodes = self.tableau.nodes if hands_over else self.tableau.needed
        if step.size == 0:
            nodes = nodes[:1]
        self.guarded.spend(step.t, len(nodes) - (len(step.start) - 1))
        if self.memory is not None and step.snapshot is not None:
            self.memory.restore(step.snapshot)
        since, start, when = now(), _leaves(step.start), moment(nodes, step.t, step.size, step.start[0])
        with torch.enable_grad():
            return Graph(start, advance(self.field, self.shapes, self.method, *when, *start), since)

    def pull_back(self, step: Step, sources: Tensors, cotangents: Tensors) -> tuple[Tensor, Tensors, Tensors]:
        """Return y_next and the cotangents of the start and of the sources, by a compiled step back; count it."""
        assert self.steps.pull_back is not None  # compiled steps have one
        nodes = self.tableau.nodes if len(cotangents) == 2 else self.tableau.needed
        self.guarded.spend(step.t, len(nodes) - (len(step.start) - 1))
        when, named = moment(nodes, step.t, step.size, step.start[0]), dict(zip(self.sources.named, sources))
        return self.steps.pull_back(self.field, self.shapes, self.method, named, when, step.start, cotangents)

    def replay(self, steps: list[Step], y: Tensor) -> Tensor:
        """Take all steps again, with one graph from y; count them."""
        slope, adaptive = None, self.guarded.solver.adaptive
        for step in steps:
            if step.size == 0:
                continue
            if self.memory is not None and step.snapshot is not None:
                self.memory.restore(step.snapshot)
            nodes = self.tableau.nodes
            self.guarded.spend(step.t, len(nodes) - (slope is not None))
            when = moment(nodes, step.t, step.size, y)
            y, slope = advance(self.field, self.shapes, self.method, *when, y, slope if adaptive else None)
        return y

    def _advance(self, when: Moment, start: Tensors, tapes: bool) -> tuple[Tensor, Graph | None]:
        """Return the end of a step, and its graph where it is kept."""
        if not tapes:
            return self.steps.advance(self.field, self.shapes, self.method, *when, *start)[0], None
        since, leaves = now(), _leaves(start)
        with torch.enable_grad():
            ends = self.steps.advance(self.field, self.shapes, self.method, *when, *leaves)
        return ends[0].detach(), Graph(leaves, ends, since)

    def _tape_opening(self, y: Tensor, kept: Checkpoints) -> None:
        """Keep the graph of f(t0, y0) as a step of no size."""
        opening = self.guarded.opening
        if kept.tapes and opening is not None:
            graph = Graph((opening.start,), (opening.start, opening.value), 0)
            kept.add(Step(self.guarded.t0, 0.0, (y,), graph))

    def _snapshot(self) -> Snapshot | None:
        return None if self.memory is None else self.memory.snapshot()

    def _slope(self, t: float, y: Tensor) -> Tensor:
        return self.guarded(torch.tensor(t, dtype=y.dtype, device=y.device), y)


def _leaves(start: Tensors) -> Tensors:
    return tuple(x.detach().requires_grad_() for x in start)
