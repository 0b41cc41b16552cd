"""Discretise, then optimise: the exact gradient of a computed solution, for the memory of its states.

| symbol | code | shape | equation |
|---|---|---|---|
| t_n, h_n, y_n | `Checkpoints` | `(N,)`, `(N,)`, N states | y_{n+1} = Phi(t_n, h_n, y_n; theta), accepted steps |
| k_n | second of `starts` | as the state | first slope of step n where step n - 1 hands it over |
| a_n = dL/dy_n | first of `cotangents` | as the state | a_n = (dPhi/dy)^T a_{n+1} |
| dL/dtheta | `sums` | as the parameters | sum_n (dPhi/dtheta)^T a_{n+1} |

The steps h_n are constants: how the step size depends on y and theta is not differentiated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from replications.flows.ode.integrate import Checkpoints, Integrator
from replications.flows.ode.step import Tensors


class Checkpointed(torch.autograd.Function):
    """y(t0) -> y(t1); keeps where each accepted step started, and runs it again on the way back."""

    @staticmethod
    def forward(
        ctx: Any,
        integrator: Integrator,
        solve: Callable[[Tensor, Checkpoints], Tensor],
        y: Tensor,
        *params: Tensor,
    ) -> Tensor:
        """Return `solve(y, checkpoints)`."""
        kept = Checkpoints()
        end = solve(y.detach(), kept)
        ctx.integrator, ctx.times, ctx.sizes = integrator, kept.times, kept.sizes
        ctx.params, ctx.widths = len(params), [len(start) for start in kept.starts]
        ctx.save_for_backward(*params, *(x for start in kept.starts for x in start))
        return end

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """Pull the cotangent of y(t1) back through the steps, last to first."""
        params, kept = ctx.saved_tensors[: ctx.params], list(ctx.saved_tensors[ctx.params :])
        sums = [torch.zeros_like(p) for p in params]
        cotangents: Tensors = (cotangent,)
        for t, size, width in zip(*map(reversed, (ctx.times, ctx.sizes, ctx.widths))):
            start = kept[-width:]
            del kept[-width:]
            cotangents, shares = ctx.integrator.pull_back(params, t, size, start, cotangents)
            if sums:
                torch._foreach_add_(sums, shares)
        return None, None, cotangents[0], *sums
