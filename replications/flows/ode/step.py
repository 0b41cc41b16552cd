"""One step of an explicit Runge-Kutta method, forward and back, eager or compiled.

The symbols are those of `tableau`. Every function takes the user's field and the shapes of the state's parts, and sees
the state as one tensor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from replications.flows.errors import RequestError
from replications.flows.ode.solver import Solver
from replications.flows.ode.state import Field, Shapes, evaluate, norm
from replications.flows.ode.tableau import tableau

Tensors = Sequence[Tensor]
Moment = tuple[Tensor, Tensor]
"""(t + c_i h `(s,)`, h) of a step."""


class Steps(NamedTuple):
    """What is done with a step, eager or compiled; a compiled step back has a graph of its own."""

    advance: Callable[..., tuple[Tensor, Tensor]]
    attempt: Callable[..., tuple[Tensor, Tensor, Tensor]]
    pull_back: Callable[..., tuple[Tensor, Tensors, Tensors]] | None = None


def advance(
    field: Field,
    shapes: Shapes,
    method: str,
    times: Tensor,
    h: Tensor,
    y: Tensor,
    slope: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return y_next and the slope of the last stage.

    Args:
        field: f.
        shapes: of the parts of the state.
        method: name of the one-step method.
        times: t_1, t_2... `(s,)` in the state's type, of all stages or of those needed.
        h: signed step, a scalar in the state's type.
        y: state at the start.
        slope: k_1 where the step before hands it over.
    """
    slopes, last = _slopes(field, shapes, method, times, h, y, slope)
    coefficients = tableau(method)
    whole = len(slopes) == len(coefficients.nodes)
    return last if coefficients.fsal and whole else _move(y, h, coefficients.weights, slopes), slopes[-1]


def attempt(
    field: Field, shapes: Shapes, solver: Solver, times: Tensor, h: Tensor, y: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y_next, the last slope, and the norm of error / (atol + rtol max(|y|, |y_next|)); at most 1 is good.

    Arguments as `advance`, with all stages and the tolerances of `solver`.
    """
    coefficients = tableau(solver.method)
    slopes, last = _slopes(field, shapes, solver.method, times, h, y, slope)
    y_next = last if coefficients.fsal else _move(y, h, coefficients.weights, slopes)
    with torch.no_grad():  # the steps have no gradient
        error = _move(torch.zeros_like(y), h, coefficients.errors, slopes)
        allowed = solver.atol + solver.rtol * torch.maximum(y.abs(), y_next.abs())
        return y_next, slopes[-1], norm(error / allowed, shapes)


def fused_pull_back(
    field: Any,
    shapes: Shapes,
    method: str,
    params: dict[str, Tensor],
    when: Moment,
    start: Tensors,
    cotangents: Tensors,
) -> tuple[Tensor, Tensors, Tensors]:
    """Run a step again; return y_next, the cotangents of where it started and its share of the sources' gradient.

    A pure function, which torch.compile makes one graph of: nothing is stored in between.
    """

    def run(params: dict[str, Tensor], *start: Tensor) -> tuple[Tensor, ...]:
        def at(t: Tensor, y: Any) -> Any:
            return functional_call(field, params, (t, y)) if params else field(t, y)

        return advance(at, shapes, method, *when, *start)[: len(cotangents)]

    ends, pull = torch.func.vjp(run, params, *start)[:2]
    shares, *of_start = pull(tuple(cotangents))
    return ends[0], tuple(of_start), tuple(shares.values())


EAGER = Steps(advance, attempt)


@functools.cache
def compiled_steps(backend: str = "inductor") -> Steps:
    """Return the steps through torch.compile, one graph each.

    On the CPU it needs a C++ compiler, and takes oneDNN for float32 products where it is faster (see `onednn`). There
    is no silent way back to eager code: what can not be compiled is refused, and so is one version too many (each
    function has one for each field structure, method and shape; torch allows 8, and `torch.compiler.reset()` forgets
    them).
    """
    torch.compiler.assume_constant_result(tableau)  # here, since it takes a second to import the compiler
    options = None
    if backend == "inductor":
        from replications.flows.ode.onednn import compile_options  # likewise

        options = compile_options()
    make = functools.partial(torch.compile, backend=backend, fullgraph=True, dynamic=False, options=options)
    return Steps(*(_refusing(make(function), function) for function in (advance, attempt, fused_pull_back)))


def _refusing(compiled: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a compiled function that says in one line why it can't be compiled, and leaves a field its own error."""

    def call(*args: Any) -> Any:
        try:
            return compiled(*args)
        except Exception as error:
            if not type(error).__module__.startswith("torch._dynamo"):
                raise
            if function is not fused_pull_back:
                function(*args)  # where the field itself is at fault, this raises what it raises
            reason = str(error).strip().splitlines()[0]
            raise RequestError(
                f"torch.compile: {reason}; make the field one graph, or use compiled=False"
            ) from error

    return call


def moment(nodes: Sequence[float], t: float, size: float, like: Tensor) -> Moment:
    """Return when the stages of a step are evaluated, and its size, in the type of the state."""
    times = torch.tensor([t + c * size for c in nodes], dtype=like.dtype, device=like.device)
    return times, torch.tensor(size, dtype=like.dtype, device=like.device)


def _slopes(
    field: Field, shapes: Shapes, method: str, times: Tensor, h: Tensor, y: Tensor, slope: Tensor | None
) -> tuple[list[Tensor], Tensor]:
    """Return k_1, k_2... and the state of the last stage."""
    slopes: list[Tensor] = []
    state = y
    for t, row in zip(times.unbind(), tableau(method).stages):
        if not slopes and slope is not None:
            slopes.append(slope)
        else:
            state = _move(y, h, row, slopes)
            slopes.append(evaluate(field, shapes, t, state))
    return slopes, state


def _move(y: Tensor, h: Tensor, weights: Sequence[float], slopes: list[Tensor]) -> Tensor:
    """Return y + h sum_i w_i k_i."""
    terms = [(w, k) for w, k in zip(weights, slopes) if w != 0]
    if not terms:
        return y
    (w, k), *others = terms
    if not others:
        return torch.addcmul(y, k, h, value=w)
    total = k * w
    for w, k in others:
        total = torch.add(total, k, alpha=w)
    return torch.addcmul(y, total, h)
