"""Discretise, then optimise: the exact gradient of a computed solution, for the memory of its states.

| symbol | code | shape | equation |
|---|---|---|---|
| t_n, h_n, y_n | `Tape` | `(N,)`, `(N,)`, N states | y_{n+1} = Phi(t_n, h_n, y_n; theta), accepted steps |
| k_n | `Tape.slopes` | N states or none | first slope of step n where step n - 1 hands it over |
| a_n = dL/dy_n | `cotangent` | as the state | a_n = (dPhi/dy)^T a_{n+1} |
| dL/dtheta | `sums` | as the parameters | sum_n (dPhi/dtheta)^T a_{n+1} |

The steps h_n are constants: how the step size depends on y and theta is not differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from replications.flows.stepper import Step


@dataclass
class Tape:
    """The accepted steps of a solve: start, signed size, state and, where handed over, the first slope."""

    starts: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)
    slopes: list[Tensor] = field(default_factory=list)

    def moments(self, nodes: Sequence[float], like: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return (t_n + c_i h_n `(s,)`, h_n) of each step, formed in float64, in the type of `like`."""
        starts, sizes, c = (torch.tensor(x, dtype=torch.float64) for x in (self.starts, self.sizes, nodes))
        times = (starts[:, None] + sizes[:, None] * c).to(like)
        # Copies, because compiled code would be made anew for each offset into a shared storage.
        return [(t.clone(), dt.clone()) for t, dt in zip(times, sizes.to(like))]


class Checkpointed(torch.autograd.Function):
    """y(t0) -> y(t1); stores the states of the accepted steps and runs each step again on the way back."""

    @staticmethod
    def forward(
        ctx: Any,
        run: Callable[[Tensor, Tape], Tensor],
        step: Step,
        nodes: Sequence[float],
        y: Tensor,
        *params: Tensor,
    ) -> Tensor:
        """Solve with `run(y, tape)`, which writes the accepted steps on the tape."""
        tape = Tape()
        end = run(y, tape)
        ctx.moments = tape.moments(nodes, y)
        ctx.step, ctx.steps, ctx.params = step, len(tape.states), len(params)
        ctx.save_for_backward(*params, *tape.states, *tape.slopes)
        return end

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """Pull the cotangent of y(t1) back through the steps, last to first."""
        saved = ctx.saved_tensors
        params, states = saved[: ctx.params], saved[ctx.params : ctx.params + ctx.steps]
        carried = saved[ctx.params + ctx.steps :]
        slopes = (None, *carried) if carried else (None,) * ctx.steps
        sums = [torch.zeros_like(p) for p in params]
        of_slope = None
        for when, *start in zip(*map(reversed, (ctx.moments, states, slopes))):
            cotangent, of_slope, shares = _pull_back(ctx.step, when, start, params, (cotangent, of_slope))
            if sums:
                torch._foreach_add_(sums, shares)
        return None, None, None, cotangent, *sums


def _pull_back(
    step: Step,
    when: tuple[Tensor, Tensor],
    start: Sequence[Tensor | None],
    params: Sequence[Tensor],
    cotangents: tuple[Tensor, Tensor | None],
) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
    """Return the cotangents of the state and the first slope of a step, and its share of the parameters'."""
    with torch.enable_grad():
        y, slope = (None if x is None else x.detach().requires_grad_() for x in start)
        assert y is not None
        ends = step(*when, y, slope)
    outputs = [(end, a) for end, a in zip(ends, cotangents) if a is not None]
    inputs = [x for x in (y, slope) if x is not None]
    grads = torch.autograd.grad(
        [end for end, _ in outputs],
        (*inputs, *params),
        [a for _, a in outputs],
        allow_unused=True,
        materialize_grads=True,
    )
    n = len(inputs)
    return grads[0], (grads[1] if n == 2 else None), grads[n:]
