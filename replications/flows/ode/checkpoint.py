"""Discretise, then optimise: the exact gradient of a computed solution, for the memory of its states.

| symbol | code | shape | equation |
|---|---|---|---|
| t_n, h_n, y_n | `march.Tape` | `(N,)`, `(N,)`, N states | y_{n+1} = Phi(t_n, h_n, y_n; theta), accepted steps |
| k_n | second of `starts` | as the state | first slope of step n where step n - 1 hands it over |
| a_n = dL/dy_n | first of `cotangents` | as the state | a_n = (dPhi/dy)^T a_{n+1} |
| dL/dtheta | `sums` | as the parameters | sum_n (dPhi/dtheta)^T a_{n+1} |

The steps h_n are constants: how the step size depends on y and theta is not differentiated.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from replications.flows.ode.guards import FlatField
from replications.flows.ode.step import advance, attempt, tableau

if TYPE_CHECKING:
    from replications.flows.ode.integrate import March, Tape

Tensors = Sequence[Tensor]
Moment = tuple[Tensor, Tensor]
"""(t + c_i h `(s,)`, h) of a step."""


class Steps(NamedTuple):
    """The three things done with a step, eager or compiled."""

    advance: Callable[..., tuple[Tensor, Tensor]]
    attempt: Callable[..., tuple[Tensor, Tensor, Tensor]]
    pull_back: Callable[..., tuple[Tensors, Tensors]]


def pull_back(
    flat: FlatField, method: str, params: dict[str, Tensor], when: Moment, start: Tensors, cotangents: Tensors
) -> tuple[Tensors, Tensors]:
    """Run a step again; return the cotangents of where it started and its share of the parameters' gradient."""
    with torch.enable_grad():
        start = [x.detach().requires_grad_() for x in start]
        ends = advance(flat, method, *when, *start)[: len(cotangents)]
    inputs = (*start, *params.values())
    grads = torch.autograd.grad(ends, inputs, cotangents, allow_unused=True, materialize_grads=True)
    return grads[: len(start)], grads[len(start) :]


def fused_pull_back(
    flat: FlatField, method: str, params: dict[str, Tensor], when: Moment, start: Tensors, cotangents: Tensors
) -> tuple[Tensors, Tensors]:
    """Do the same as a pure function, which torch.compile makes one graph of: nothing is stored in between."""

    def run(params: dict[str, Tensor], *start: Tensor) -> tuple[Tensor, ...]:
        return advance(flat.with_parameters(params), method, *when, *start)[: len(cotangents)]

    pull = torch.func.vjp(run, params, *start)[1]
    shares, *of_start = pull(tuple(cotangents))
    return tuple(of_start), tuple(shares.values())


EAGER = Steps(advance, attempt, pull_back)


@functools.cache
def compiled_steps(backend: str = "inductor") -> Steps:
    """Return the steps through torch.compile, one graph each.

    On the CPU it needs a C++ compiler, and takes oneDNN for large float32 products (see `products`). There is no
    silent way back to eager code: what can not be compiled raises torch's error, and so does one version too many
    (each function has one for each field structure, method and shape; torch allows 8, and
    `torch.compiler.reset()` forgets them).
    """
    torch.compiler.assume_constant_result(tableau)  # here, since it takes a second to import the compiler
    options = None
    if backend == "inductor":
        from replications.flows.ode.onednn import compile_options  # likewise

        options = compile_options()
    make = functools.partial(torch.compile, backend=backend, fullgraph=True, dynamic=False, options=options)
    return Steps(make(advance), make(attempt), make(fused_pull_back))


class Checkpointed(torch.autograd.Function):
    """y(t0) -> y(t1); keeps where each accepted step started, and runs it again on the way back."""

    @staticmethod
    def forward(
        ctx: Any,
        march: March,
        solve: Callable[[Tensor, Tape], Tensor],
        tape: Tape,
        y: Tensor,
        *params: Tensor,
    ) -> Tensor:
        """Return `solve(y, tape)`, which writes the accepted steps on the tape."""
        end = solve(y.detach(), tape)
        ctx.march, ctx.times, ctx.sizes = march, tape.times, tape.sizes
        ctx.params, ctx.widths = len(params), [len(start) for start in tape.starts]
        ctx.save_for_backward(*params, *(x for start in tape.starts for x in start))
        tape.starts = []
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
            cotangents, shares = ctx.march.pull_back(params, t, size, start, cotangents)
            if sums:
                torch._foreach_add_(sums, shares)
        return None, None, None, cotangents[0], *sums
