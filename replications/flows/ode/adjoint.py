"""Optimise, then discretise: torchdiffeq's adjoint, a second solve backward in time (chen2018neural)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torchdiffeq
from torch import Tensor, nn

from replications.flows.errors import RequestError
from replications.flows.ode.guards import GuardedField
from replications.flows.ode.internals import in_backward, now
from replications.flows.ode.library import arguments, method_of
from replications.flows.ode.repetition import check_repetition
from replications.flows.ode.solver import Solver
from replications.flows.ode.sources import Sources
from replications.flows.ode.state import evaluate


class Evaluation(NamedTuple):
    """Where a field was evaluated, and its value there."""

    t: Tensor
    y: Tensor
    value: Tensor


class AdjointField(GuardedField):
    """A field for both solves, which meets the same field as it was asked for: under the same autocast, as repeatable.

    Attributes:
        sources: what it depends on.
        is_due: whether the next evaluation of the second solve is to be checked by them.
        first: the first evaluation of the forward solve.
        last: the last one.
    """

    sources: Sources
    is_due: bool
    first: Evaluation | None = None
    last: Evaluation | None = None

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """Return f(t, y), counted.

        Raises:
            RequestError: a value that does not repeat f(t0, y0) as evaluated ahead, or that depends on something new.
        """
        if not in_backward():
            opening, self.opening = self.opening, None
            value = super().__call__(t, y)
            if opening is not None:
                check_repetition(value, opening.value, opening.value)
            self.last = Evaluation(t, y.detach(), value.detach())
            self.first = self.first or self.last
            return value
        since = now() if self.is_due else 0
        with self.autocast.again():
            value = super().__call__(t, y)
        if self.is_due:
            self.sources.check((value,), since, (t, y))
            self.is_due = not isinstance(self.field, nn.Module)
        return value if value.requires_grad else value + 0 * y  # torchdiffeq differentiates constants too

    def repeat(self, before: Evaluation | None) -> None:
        """See that an evaluation of the forward solve gives the same again, uncounted.

        Raises:
            RequestError: it does not.
        """
        if before is not None:
            with torch.no_grad(), self.autocast.again():
                again = evaluate(self.field, self.shapes, before.t, before.y)
                check_repetition(again, before.value, before.value)

    def check_adjoint_steps(self) -> None:
        """Check the steps of an adjoint solve too: torchdiffeq runs it from t1 to t0 in a time that increases."""

        def check(increasing_t: Tensor, augmented: tuple[Tensor, ...], dt: Tensor) -> None:
            self.check_step(-self.sign, self.sign * increasing_t, augmented[1], dt)

        self.callback_step_adjoint = check


class Once(torch.autograd.Function):
    """The identity, whose gradient can't be differentiated."""

    @staticmethod
    def forward(ctx: Any, end: Tensor) -> Tensor:
        """Return the same."""
        return end.view_as(end)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        """Return the same, where nobody asks for the graph of it."""
        if torch.is_grad_enabled():
            raise RequestError(
                "gradient='adjoint' can't be differentiated twice; use gradient='checkpoint' or 'backprop'"
            )
        return cotangent


def adjoint(field: AdjointField, y: Tensor, times: Tensor, sources: Sources, solver: Solver) -> Tensor:
    """Return y(t1), with the adjoint's gradient; `solver` steers the second solve."""
    field.sources, field.is_due = sources, sources.is_due(field.field)
    if solver.adaptive:
        field.check_adjoint_steps()
    # torchdiffeq runs the second solve in a time that increases from t0 to t1.
    method, options = method_of(solver, field.sign * times.flip(0))
    second = {"method": method, "options": options, "rtol": solver.rtol, "atol": solver.atol}
    states: Tensor = torchdiffeq.odeint_adjoint(
        field,
        y,
        times,
        **arguments(field, times),
        **{f"adjoint_{name}": value for name, value in second.items()},
        adjoint_params=sources.tensors,
    )
    if field.is_due and states.grad_fn is not None:
        # Around the second solve: a field that counts has changed by then, or changes on the way.
        states.grad_fn.register_prehook(lambda cotangents: field.repeat(field.last))
        states.grad_fn.register_hook(lambda grads, cotangents: field.repeat(field.first))
    end: Tensor = Once.apply(states[-1])
    return end
