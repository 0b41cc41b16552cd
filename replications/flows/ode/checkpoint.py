"""Discretise, then optimise: the exact gradient of a computed solution, for the memory of its states.

| symbol | code | shape | equation |
|---|---|---|---|
| t_n, h_n, y_n | `Checkpoints` | `(N,)`, `(N,)`, N states | y_{n+1} = Phi(t_n, h_n, y_n; theta), accepted steps |
| k_n | second of `Step.start` | as the state | first slope of step n where step n - 1 hands it over |
| a_n = dL/dy_n | first of `cotangents` | as the state | a_n = (dPhi/dy)^T a_{n+1} |
| dL/dtheta | `sums` | as the sources | sum_n (dPhi/dtheta)^T a_{n+1} |

The steps h_n are constants: how the step size depends on y and theta is not differentiated. A step whose graph was kept
is not run again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from replications.flows.errors import RequestError
from replications.flows.ode.integrate import Integrator
from replications.flows.ode.internals import add_all
from replications.flows.ode.kept import Checkpoints, Step
from replications.flows.ode.repetition import check_repetition
from replications.flows.ode.step import EAGER, Tensors

Grads = tuple[Tensor | None, ...]
MATERIALIZED: dict[str, Any] = {"allow_unused": True, "materialize_grads": True}
"""Zeros for what does not depend on an input."""


class Checkpointed(torch.autograd.Function):
    """y(t0) -> y(t1); keeps where each accepted step started, and runs it again on the way back."""

    @staticmethod
    def forward(
        ctx: Any,
        integrator: Integrator,
        solve: Callable[[Tensor, Checkpoints], Tensor],
        kept: Checkpoints,
        y: Tensor,
        *sources: Tensor,
    ) -> Tensor:
        """Return `solve(y, kept)`."""
        end = solve(y.detach(), kept)
        ctx.integrator, ctx.kept, ctx.sources = integrator, kept, len(sources)
        ctx.save_for_backward(y, end, *sources, *kept.take_starts())
        return end

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Grads:
        """Pull the cotangent of y(t1) back through the steps, last to first."""
        y, end, *others = ctx.saved_tensors
        sources, steps = others[: ctx.sources], ctx.kept.take_steps(others[ctx.sources :])
        del others
        with _as_before(ctx.integrator):
            if torch.is_grad_enabled():
                replay = partial(_replay, ctx.integrator, steps, end.detach())
                return None, None, None, *_Twice.apply(replay, cotangent, y, *sources)
            return None, None, None, *_pull_back(ctx.integrator, steps, end, sources, cotangent)


def _as_before(integrator: Integrator) -> ExitStack:
    """Evaluate under the autocast of the solve; leave what the field remembers as it is."""
    stack = ExitStack()
    stack.enter_context(integrator.guarded.autocast.again())
    if integrator.memory is not None:
        stack.enter_context(integrator.memory.aside())
    return stack


def _pull_back(
    integrator: Integrator, steps: list[Step], end: Tensor, sources: Tensors, cotangent: Tensor
) -> tuple[Tensor, ...]:
    """Return the cotangents of y(t0) and of the sources."""
    sums = [torch.zeros_like(x) for x in sources]
    cotangents: Tensors = (cotangent,)
    module, due = isinstance(integrator.field, nn.Module), integrator.sources.is_due(integrator.field)
    last = True
    while steps:
        step = steps.pop()
        if step.graph is None and integrator.steps is not EAGER:
            again, cotangents, shares = integrator.pull_back(step, sources, cotangents)
            if last:
                check_repetition(again, end, end - step.start[0])
        else:
            # Of a module the last step tells; a plain function may reach for anything at any time.
            checks = _Checks(repeats=last or not module, depends=due and (last or not module))
            cotangents, shares = _through_graph(integrator, step, end, sources, cotangents, checks)
        end, last = step.start[0], False
        if sums:
            add_all(sums, list(shares))
    return (cotangents[0], *sums)


class _Checks(NamedTuple):
    """Whether a step is to be checked for giving what it gave before, and for depending on the known sources alone."""

    repeats: bool
    depends: bool


def _through_graph(
    integrator: Integrator, step: Step, end: Tensor, sources: Tensors, cotangents: Tensors, checks: _Checks
) -> tuple[Tensors, Tensors]:
    """Return the cotangents of the start of a step and of the sources, by its graph, which is gone afterwards."""
    kept, step.graph = step.graph, None
    graph = kept or integrator.rerun(step, len(cotangents) == 2)
    if checks.repeats and kept is None:
        check_repetition(graph.ends[0], end, end - step.start[0])
    if checks.depends and step.size != 0:
        integrator.sources.check(graph.ends, graph.since, graph.start)
    if checks.repeats and not graph.ends[1].requires_grad:
        y = graph.start[0]
        integrator.guarded.check_constant(y.new_tensor(step.t), y)
    # A slope that is constant has no graph.
    pairs = [(end, cotangent) for end, cotangent in zip(graph.ends, cotangents) if end.requires_grad]
    ends, weights = zip(*pairs)
    grads = torch.autograd.grad(ends, (*graph.start, *sources), weights, **MATERIALIZED)
    return grads[: len(graph.start)], grads[len(graph.start) :]


def _replay(integrator: Integrator, steps: list[Step], end: Tensor, y: Tensor) -> Tensor:
    """Return y(t1) by the same steps, with one graph from y."""
    with _as_before(integrator):
        again = integrator.replay(steps, y)
        check_repetition(again, end, end - y)
    return again


class _Twice(torch.autograd.Function):
    """The gradient of a solve, for what differentiates it once more: by the graph of all steps, taken again for it."""

    @staticmethod
    def forward(
        ctx: Any, replay: Callable[[Tensor], Tensor], cotangent: Tensor, y: Tensor, *sources: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the cotangents of y and of the sources."""
        ctx.replay = replay
        ctx.save_for_backward(cotangent, y, *sources)
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            return torch.autograd.grad(replay(y), (y, *sources), cotangent, **MATERIALIZED)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Grads:
        """Differentiate them by the cotangent of y(t1), y and the sources."""
        if torch.is_grad_enabled():
            raise RequestError(
                "gradient='checkpoint' can't be differentiated three times; use gradient='backprop'"
            )
        cotangent, y, *sources = ctx.saved_tensors
        with torch.enable_grad():
            cotangent, y = (x.detach().requires_grad_() for x in (cotangent, y))
            inputs = (y, *sources)
            grads = torch.autograd.grad(ctx.replay(y), inputs, cotangent, create_graph=True, **MATERIALIZED)
            twice = [(g, c) for g, c in zip(grads, cotangents) if g.requires_grad]
            outputs, weights = zip(*twice) if twice else ((), ())
            return None, *torch.autograd.grad(outputs, (cotangent, *inputs), weights, **MATERIALIZED)
