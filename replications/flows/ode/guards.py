"""A field as torchdiffeq sees it: on one tensor, its evaluations counted, the failures of a solve named."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import functional_call

from replications.flows.errors import SolveFailure
from replications.flows.ode.solver import Solver

Field = Callable[[Any, Any], Any]


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


class FlatField:
    """A field on one tensor: the parts of a tuple state laid end to end, a tensor as it is.

    Args:
        field: f, called as `field(t, y)`.
        shapes: of the parts of y; None for a tensor.
    """

    def __init__(self, field: Field, shapes: list[torch.Size] | None) -> None:
        self.field, self.shapes = field, shapes

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """Return f(t, y)."""
        if self.shapes is None:
            return cast(Tensor, self.field(t, y))
        return self.join(self.field(t, self.split(y)))

    def join(self, state: Any) -> Tensor:
        """Return a state as one tensor."""
        return state if self.shapes is None else torch.cat([part.reshape(-1) for part in state])

    def split(self, y: Tensor) -> Any:
        """Undo `join`, on any number of leading axes."""
        if self.shapes is None:
            return y
        parts = y.split([shape.numel() for shape in self.shapes], dim=-1)
        return tuple(part.reshape((*y.shape[:-1], *shape)) for part, shape in zip(parts, self.shapes))

    def around(self, field: Field) -> FlatField:
        """Return another field on the same tensor."""
        return FlatField(field, self.shapes)

    def with_parameters(self, params: dict[str, Tensor]) -> FlatField:
        """Return the field at other values of the parameters of its module."""
        field: Any = self.field
        return self.around(lambda t, y: functional_call(field, params, (t, y))) if params else self

    @torch.no_grad()
    def norm(self, y: Tensor) -> Tensor:
        """Return the largest root mean square of the parts; without gradient, so the first step has none."""
        parts = (y,) if self.shapes is None else self.split(y)
        return torch.stack([part.abs().square().mean().sqrt() for part in parts]).max()


class Watch:
    """What a solver integrates in place of a flat field.

    torchdiffeq calls `callback_step` before each step of an adaptive method; where the step must fail, that
    raises a typed error ahead of torchdiffeq's bare assertion.

    Attributes:
        nfe: evaluations so far.
        sign: of t1 - t0.
    """

    def __init__(self, flat: FlatField, solver: Solver, t0: float, t1: float) -> None:
        self.flat, self.solver, self.t1, self.budget = flat, solver, t1, solver.max_nfe
        self.nfe = 0
        self.last_t: float | Tensor = t0
        self.sign = 1.0 if t1 > t0 else -1.0
        if solver.adaptive:
            self.callback_step = functools.partial(self._check_step, self.sign)  # torchdiffeq looks for it

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """Return f(t, y), counted."""
        self.spend(t, 1)
        return self.flat(t, y)

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

    def finish(self, end: Tensor) -> None:
        """End the forward solve: no budget holds from here on, for a backward pass.

        Raises:
            Diverged: the end is not finite.
        """
        self.budget = None
        if not torch.isfinite(end).all():
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

    def watch_adjoint(self) -> None:
        """Check the steps of an adjoint solve too."""

        def check(increasing_t: Tensor, augmented: tuple[Tensor, ...], dt: Tensor) -> None:
            self._check_step(-self.sign, self.sign * increasing_t, augmented[1], dt)

        self.callback_step_adjoint = check

    def _check_step(self, sign: float, t: Tensor, y: Tensor, dt: Tensor) -> None:
        # torchdiffeq replaces a step size that is not a number by the smallest it allows, zero.
        size = float(dt) or math.nan
        self.check(float(t), sign * size, bool(torch.isfinite(y).all()))
