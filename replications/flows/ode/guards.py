"""A field with its evaluations counted and the failures of a solve named."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from replications.flows.errors import RequestError, SolveFailure
from replications.flows.ode.counter import Counter
from replications.flows.ode.internals import transformed
from replications.flows.ode.repetition import Autocast, Memory, same
from replications.flows.ode.solver import Solver
from replications.flows.ode.sources import Opening, check_constant, trace
from replications.flows.ode.state import IN_PLACE, Field, Shapes, evaluate


class Underflow(SolveFailure):
    """The step an error estimate asks for is too small to move t."""

    def __init__(self, message: str, last_t: float | None = None, nfe: int | None = None) -> None:
        super().__init__("underflow", message, last_t, nfe)


class NFEBudget(SolveFailure):
    """A solve would need more function evaluations than its solver allows."""

    def __init__(self, message: str, last_t: float | None = None, nfe: int | None = None) -> None:
        super().__init__("nfe-budget", message, last_t, nfe)


class Diverged(SolveFailure):
    """The state or its error estimate is no longer finite."""

    def __init__(self, message: str, last_t: float | None = None, nfe: int | None = None) -> None:
        super().__init__("diverged", message, last_t, nfe)


class GuardedField:
    """What a solve sees of a field: its values on one tensor, its budget, and typed errors where a step must fail.

    torchdiffeq calls `callback_step` before each step of an adaptive method; it raises a typed error where torchdiffeq
    itself would end in an assertion.

    Args:
        field: f, called as `field(t, y)`.
        shapes: of the parts of its state.
        solver: method and budget.
        t0: start.
        t1: end.
        counter: counts the evaluations.
        device: where the state is.

    Attributes:
        nfe: evaluations so far.
        sign: of t1 - t0.
        autocast: what torch.autocast is set to in the solve.
        opening: f(t0, y0) where it was evaluated ahead; the first evaluation of the solve takes it.
        ahead: f(t0, y0) likewise, of a solve without gradient.
    """

    def __init__(
        self,
        field: Field,
        shapes: Shapes,
        solver: Solver,
        t0: float,
        t1: float,
        counter: Counter,
        device: torch.device,
    ) -> None:
        self.field, self.shapes, self.solver, self.counter = field, shapes, solver, counter
        self.t0, self.t1, self.budget, self.nfe = t0, t1, solver.max_nfe, 0
        self.last_t: float | Tensor = t0
        self.sign = 1.0 if t1 > t0 else -1.0
        self.autocast = Autocast(device)
        self.opening: Opening | None = None
        self.ahead: Tensor | None = None
        if solver.adaptive:
            self.callback_step = functools.partial(self.check_step, self.sign)  # torchdiffeq looks for it

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """Return f(t, y), counted."""
        first = self.nfe == 0 and not transformed()
        self.spend(t, 1)
        opened = self.take_opening()
        if opened is not None and t == t.new_tensor(self.t0):
            return opened
        value = self._first(t, y) if first else evaluate(self.field, self.shapes, t, y)
        if y.requires_grad and torch.is_grad_enabled() and not value.requires_grad:
            self.check_constant(t, y)
        return value

    def check_constant(self, t: Tensor, y: Tensor) -> None:
        """See that a field whose value has no graph does not depend on its state, by two evaluations, uncounted.

        Raises:
            RequestError: it does.
        """
        if not transformed():
            check_constant(lambda y: evaluate(self.field, self.shapes, t, y), y)

    def open(self, y: Tensor, memory: Memory, leaf: bool, gradient: str) -> Opening:
        """Evaluate f(t0, y0) ahead of the solve, with its graph; it is counted where it is taken."""
        t = torch.tensor(self.t0, dtype=y.dtype, device=y.device)

        def value(y: Tensor) -> Tensor:
            return evaluate(self.field, self.shapes, t, y)

        with _unchanged(y):
            self.opening = trace(self.field, value, y, leaf, memory.aside, gradient)
        return self.opening

    def open_without(self, y: Tensor) -> None:
        """Evaluate f(t0, y0) ahead of a solve without gradient; it is counted where it is taken."""
        t = torch.tensor(self.t0, dtype=y.dtype, device=y.device)
        self.ahead = self._first(t, y)

    def _first(self, t: Tensor, y: Tensor) -> Tensor:
        with _unchanged(y):
            return evaluate(self.field, self.shapes, t, y)

    def take_opening(self) -> Tensor | None:
        """Return f(t0, y0) where it was evaluated ahead and not taken yet."""
        opening, self.opening = self.opening, None
        ahead, self.ahead = self.ahead, None
        return ahead if opening is None else opening.value.detach()

    def spend(self, t: float | Tensor, evaluations: int) -> None:
        """Count evaluations about to happen at t.

        Raises:
            NFEBudget: they would exceed the solver's budget.
        """
        if self.budget is not None and self.nfe + evaluations > self.budget:
            needs = f"{self.solver.method} needs more than {self.budget} function evaluations"
            raise NFEBudget(f"{needs} to reach t = {self.t1:g}", float(t), self.nfe)
        self.nfe += evaluations
        self.last_t = t
        self.counter.count(evaluations)

    def finish(self, end: Tensor) -> None:
        """End the forward solve: no budget holds from here on, for a backward pass.

        Raises:
            Diverged: the end is not finite.
        """
        self.budget = None
        if not _is_finite(end):
            raise Diverged(f"the state is not finite at t = {self.t1:g}", self.t1, self.nfe)

    def check(self, t: float, size: float, finite: bool = True) -> None:
        """See whether a step can be taken.

        Args:
            t: where it starts.
            size: the step that the last error estimate asks for, with its sign.
            finite: whether the state is.

        Raises:
            Diverged: state or error estimate not finite.
            Underflow: the step does not move t.
        """
        if not (finite and math.isfinite(size)):
            raise Diverged(f"the state or its error estimate is not finite at t = {t:g}", t, self.nfe)
        if t + size == t:
            raise Underflow(f"the step size {size:.1e} is too small to move t = {t:g}", t, self.nfe)

    def check_step(self, sign: float, t: Tensor, y: Tensor, dt: Tensor) -> None:
        """Check a step of torchdiffeq's, of size dt in the direction `sign`."""
        # torchdiffeq replaces a step size that is not a number by the smallest it allows, zero.
        size = float(dt) or math.nan
        self.check(float(t), sign * size, bool(torch.isfinite(y).all()))


@contextmanager
def _unchanged(y: Tensor) -> Iterator[None]:
    """See that an evaluation leaves its state as it is; torch counts no write through `.data`."""
    before = y.detach().clone()
    yield
    if not same(y.detach(), before):
        raise RequestError(IN_PLACE)


def _is_finite(end: Tensor) -> bool:
    finite = torch.isfinite(end).all()
    try:
        return bool(finite)
    except RuntimeError:
        if transformed():  # by vmap, under which tensors have no values
            return True
        raise
