"""A solve from its start to its end, with the gradient that is asked for."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from replications.flows.errors import RequestError
from replications.flows.ode.adjoint import AdjointField, adjoint
from replications.flows.ode.checkpoint import Checkpointed
from replications.flows.ode.guards import GuardedField
from replications.flows.ode.integrate import Integrator
from replications.flows.ode.internals import transformed
from replications.flows.ode.kept import Checkpoints
from replications.flows.ode.library import equal_steps, integrate
from replications.flows.ode.memory import SHARE, Saved, free_bytes
from replications.flows.ode.repetition import Memory, Snapshot
from replications.flows.ode.solver import ADAPTIVE, ONE_STEP, Solver
from replications.flows.ode.sources import Opening
from replications.flows.ode.tableau import tableau

Gradient = Literal["backprop", "adjoint", "checkpoint", "tape", "auto"]
OUR_STEPS = ("checkpoint", "tape", "auto")
"""Gradients through steps of our own."""


class GradientOf:
    """One solve of a field, by one of the gradients.

    Args:
        guarded: the field; an `AdjointField` for `adjoint`.
        times: start and end.
        gradient: its name.
        compiled: whether the steps are torch.compile's.
    """

    def __init__(self, guarded: GuardedField, times: Tensor, gradient: str, compiled: bool) -> None:
        self.guarded, self.times, self.gradient, self.compiled = guarded, times, gradient, compiled
        self.solver = guarded.solver

    def end(self, y: Tensor, adjoint_solver: Solver) -> Tensor:
        """Return y(t1)."""
        if transformed():
            return self._transformed(y)
        if unpack_dual(y).tangent is not None:
            raise RequestError(
                "a solve has no forward-mode gradient; use torch.func.jvp and gradient='backprop'"
            )
        leaves_torch = self.solver.method.startswith("scipy:")
        if self.gradient == "backprop" and not leaves_torch:
            return integrate(self.guarded, y, self.times)[-1]
        if not torch.is_grad_enabled():
            return self._without(y)
        memory = Memory(self.guarded.field, y.device)
        before = memory.snapshot()
        opening, graphs = self._open(y, memory)
        if not (y.requires_grad or opening.sources.tensors):
            return self._without(y)
        self._check_method()
        if not isinstance(self.guarded, AdjointField):
            return self._through_steps(y, opening, self._check_memory(memory, before), before, graphs)
        self._check_memory(memory, before)
        return adjoint(self.guarded, y, self.times, opening.sources, adjoint_solver)

    def _transformed(self, y: Tensor) -> Tensor:
        """Solve under a transform of torch.func, which follows our steps but not custom functions, nor torchdiffeq."""
        if self.gradient != "backprop":
            raise RequestError(f"torch.func can't follow gradient={self.gradient!r}; use gradient='backprop'")
        if not has_step(self.solver):
            raise RequestError(
                f"torch.func can't follow {self.solver.method}; use fixed steps, such as Solver('rk4', steps=...)"
            )
        integrator, kept = Integrator(self.guarded), Checkpoints()
        if self.solver.fixed:
            return self._steps(integrator)(y, Checkpoints(keep=False))
        try:
            with torch.no_grad():
                self._steps(integrator)(y, kept)
        except RuntimeError as error:
            if "vmap" not in str(error):
                raise
            raise RequestError(
                "vmap can't follow steps that depend on the state; give the batch as an axis of the state, or take "
                "fixed steps"
            ) from error
        self.guarded.budget = None
        return integrator.replay(kept.steps, y)

    def _without(self, y: Tensor) -> Tensor:
        """Solve without gradient: by steps of our own where there are, with less overhead than torchdiffeq's."""
        with torch.no_grad():
            if self.gradient != "backprop" and has_step(self.solver):
                integrator = Integrator(self.guarded, compiled=self.compiled)
                if not self.compiled and self.guarded.opening is None:
                    self.guarded.open_without(y)
                return self._steps(integrator)(y, Checkpoints(keep=False))
            return integrate(self.guarded, y, self.times)[-1]

    def _through_steps(
        self, y: Tensor, opening: Opening, memory: Memory | None, before: Snapshot, graphs: float
    ) -> Tensor:
        sources = opening.sources
        if self.compiled and any(x.grad_fn is not None for x in sources.tensors):
            raise RequestError(
                "the field uses a tensor that was computed from others, of which a compiled step knows no gradient; "
                "compute it inside the field, or use compiled=False"
            )
        if self.compiled and sources.others:
            raise RequestError(
                "the field uses a tensor that is no parameter of its own, of which a compiled step knows no gradient; "
                "make it one, or use compiled=False"
            )
        kept = Checkpoints(graphs=graphs)
        integrator = Integrator(self.guarded, sources, self.compiled, memory, before if memory else None)
        end: Tensor = Checkpointed.apply(integrator, self._steps(integrator), kept, y, *sources.tensors)
        counter, steps = self.guarded.counter, [step for step in kept.steps if step.size != 0]
        counter.taped += sum(step.graph is not None for step in steps)
        counter.checkpointed += sum(step.graph is None for step in steps)
        return end

    def _open(self, y: Tensor, memory: Memory) -> tuple[Opening, float]:
        """Evaluate f(t0, y0) with its graph; return it, and of how many steps the graph is to be kept."""
        leaf = self.gradient in ("tape", "auto")
        open_ = functools.partial(self.guarded.open, y, memory, leaf, self.gradient)
        if self.gradient != "auto":
            return open_(), math.inf if self.gradient == "tape" else 0
        saved = Saved()
        with saved.watch():
            opening = open_()
        known = (*opening.sources.tensors, *self._constants(), opening.start)
        stages = len(tableau(self.solver.method).nodes) if has_step(self.solver) else 1
        a_step = stages * (saved.bytes_without(known) + y.nbytes)
        return opening, SHARE * free_bytes(y.device) / a_step

    def _constants(self) -> tuple[Tensor, ...]:
        """Return the parameters and buffers of the field, which no graph keeps a copy of."""
        field = self.guarded.field
        return (*field.parameters(), *field.buffers()) if isinstance(field, torch.nn.Module) else ()

    def _check_method(self) -> None:
        """Refuse what would give no gradient, or that of another solution."""
        gradient, solver = self.gradient, self.solver
        if gradient == "backprop":
            raise RequestError(
                f"{solver.method} leaves torch, where autograd can not follow; use gradient='adjoint'"
            )
        if gradient in OUR_STEPS and solver.method not in (*ONE_STEP, *ADAPTIVE):
            methods = ", ".join((*ONE_STEP, *ADAPTIVE))
            raise RequestError(
                f"gradient={gradient!r} has no step of {solver.method}; use gradient='adjoint' or one of {methods}"
            )
        if gradient in OUR_STEPS and solver.adaptive and not solver.step_to_end:
            raise RequestError(
                f"gradient={gradient!r} needs a solver that steps to the end; leave out step_to_end=False"
            )

    def _check_memory(self, memory: Memory, before: Snapshot) -> Memory | None:
        """Return the memory if an evaluation changed it; refuse where a re-run could not be made to repeat it."""
        drawn, written = memory.changes(before)
        if not (drawn or written):
            return None
        does = "draws random numbers" if drawn else "changes its buffers"
        if self.gradient == "adjoint":
            raise RequestError(
                f"the field {does}, so that the adjoint's second solve would meet another field; use "
                "gradient='backprop', or call the field's eval()"
            )
        if self.compiled:
            raise RequestError(
                f"the field {does}, which a compiled step can't repeat; use compiled=False, or call the field's eval()"
            )
        if drawn and self.solver.adaptive and self.gradient != "tape":
            raise RequestError(
                "the field draws random numbers at each evaluation, so that an adaptive step can't be repeated; take "
                "fixed steps, draw before the solve, or use gradient='tape'"
            )
        return memory

    def _steps(self, integrator: Integrator) -> Callable[[Tensor, Checkpoints], Tensor]:
        """Return the integration from the first time to the last."""
        if self.solver.adaptive:
            return functools.partial(integrator.adaptive, self.guarded.t0)
        grid = equal_steps(self.times.cpu(), self.solver.steps)
        return functools.partial(
            integrator.fixed, [float(t) for t in grid]
        )  # under torch.func there is no tolist


def has_step(solver: Solver) -> bool:
    """Return whether the integrator takes the steps of this solver."""
    return solver.method in ONE_STEP or (solver.adaptive and solver.step_to_end)


def check_request(solver: Solver, gradient: str, compiled: bool) -> None:
    """Refuse what no solve can be asked for."""
    if gradient not in get_args(Gradient):
        raise RequestError(f"unknown gradient {gradient!r}; use one of {', '.join(get_args(Gradient))}")
    if solver.fixed and solver.steps is None:
        raise RequestError(
            f"{solver.method} takes equal steps; say how many: Solver({solver.method!r}, steps=...)"
        )
    if compiled and gradient not in OUR_STEPS:
        raise RequestError(f"only {', '.join(OUR_STEPS)} have compiled steps, not gradient={gradient!r}")
