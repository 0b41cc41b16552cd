"""Solve step by step, and keep what each accepted step started from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from replications.flows.ode.controller import initial_step, next_step
from replications.flows.ode.guards import GuardedField
from replications.flows.ode.state import norm
from replications.flows.ode.step import EAGER, Tensors, compiled_steps, moment
from replications.flows.ode.tableau import tableau


@dataclass
class Checkpoints:
    """The accepted steps of a solve: time and signed size, and at the start (state,) or (state, first slope).

    Without `keep` nothing is kept, for a solve without gradient.
    """

    keep: bool = True
    times: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    starts: list[Tensors] = field(default_factory=list)

    def add(self, t: float, size: float, *start: Tensor) -> None:
        """Keep one step."""
        if self.keep:
            self.times.append(t)
            self.sizes.append(size)
            self.starts.append(start)


class Integrator:
    """Takes the steps of a field: forward, keeping checkpoints, and back from one to the one before.

    Args:
        guarded: the field, its solver and its budget.
        params: the parameters that get a gradient, by their names in the field.
        compiled: whether the steps are torch.compile's.
    """

    def __init__(self, guarded: GuardedField, params: dict[str, Tensor], compiled: bool) -> None:
        self.guarded, self.method = guarded, guarded.solver.method
        self.field, self.shapes = guarded.field, guarded.shapes
        self.tableau, self.names = tableau(self.method), list(params)
        self.steps = compiled_steps() if compiled else EAGER

    def fixed(self, grid: list[float], y: Tensor, kept: Checkpoints) -> Tensor:
        """Return the state at the end of a grid: torchdiffeq's but for rounding."""
        nodes, steps = self.tableau.nodes, [(t, after - t) for t, after in pairwise(grid)]
        # All at once: a tensor made in each step would cost as much as the step's own arithmetic.
        times = y.new_tensor([[t + c * size for c in nodes] for t, size in steps]).unbind()
        sizes = y.new_tensor([size for _, size in steps]).unbind()
        for (t, size), *when in zip(steps, times, sizes):
            kept.add(t, size, y)
            self.guarded.spend(t, len(nodes))
            y, _ = self.steps.advance(self.field, self.shapes, self.method, *when, y)
        return y

    def adaptive(self, t: float, y: Tensor, kept: Checkpoints) -> Tensor:
        """Return the state at t1, where the last step ends: torchdiffeq's but for rounding."""
        guarded, solver, t1, nodes = self.guarded, self.guarded.solver, self.guarded.t1, self.tableau.nodes
        slope = self._slope(t, y)
        size = initial_step(self._slope, solver, t, guarded.sign, y, slope, partial(norm, shapes=self.shapes))
        handed: tuple[Tensor, ...] = ()
        while t != t1:
            guarded.check(t, size)
            after = t + size
            if abs(after - t) > abs(t1 - t):
                after, size = t1, t1 - t
            guarded.spend(t, len(nodes) - 1)
            when = moment(nodes, t, size, y)
            y_next, last, error = self.steps.attempt(self.field, self.shapes, solver, *when, y, slope)
            ratio = float(error)
            if ratio <= 1:
                kept.add(t, size, y, *handed)
                t, y, slope = after, y_next, last
                handed = (last,) if self.tableau.hands_over else ()
            size = next_step(self.method, size, ratio)
        return y

    def pull_back(
        self, params: Tensors, t: float, size: float, start: Tensors, cotangents: Tensors
    ) -> tuple[Tensors, Tensors]:
        """Return the cotangents of the start of a step and its share of the gradient of the parameters."""
        nodes = self.tableau.needed
        self.guarded.spend(t, len(nodes) - (len(start) - 1))
        when, named = moment(nodes, t, size, start[0]), dict(zip(self.names, params))
        return self.steps.pull_back(self.field, self.shapes, self.method, named, when, start, cotangents)

    def _slope(self, t: float, y: Tensor) -> Tensor:
        return self.guarded(torch.tensor(t, dtype=y.dtype, device=y.device), y)
