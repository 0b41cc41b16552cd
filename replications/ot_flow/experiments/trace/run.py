r"""Experiment `ot_flow.trace`: the exact trace against an estimate by autograd (onken2021otflow, Figure 2).

| symbol | code | shape | equation |
|---|---|---|---|
| H | `field` | `(B, D, D)` | Hessian of Phi over x at each state; the field's Jacobian is -H |
| tr H | `exact` | `(B,)` | in closed form, grad Phi with it |
| v_k | `eps` | `(K, B, D)` | Rademacher vectors |
| est | `estimates` | `(B,)` | 1/K sum_k v_k^T H v_k |
| error | `relative` | scalar | \|est - tr H\| / \|tr H\|, norms over the batch: one number |
| expected | `expected` | scalar | sqrt(2/K mean(\|H\|_F^2 - sum_i H_ii^2) / mean((tr H)^2)), means over states |

| way | code | operations |
|---|---|---|
| grad Phi | | g = 4 B (D m + (M - 1) m^2 + r D), r the rank of A |
| exact | `Potential.derivatives` | g + 2 B D (M - 1) m^2: the paper's formula |
| exact by G | the same, `short` | g + 2 B (2 M - 3) m^3 + 2 D m^2: the same number, see `potential` |
| hutchinson-K | `by_gradients` | 2 g K: for each vector the gradient anew and one backward pass, as published |
| pushed-K | `by_pushes` | g (1 + K): K tangents pushed forwards together, no backward pass |
| unit vectors | `ways.by_loop` | g (1 + D): exact, a backward pass for each dimension |

Operations are those of matrix products, a multiplication and an addition each. One pass over all the vectors gives
time and error after each K; vectors are drawn while the clock stands. Nothing asks for the gradient by the parameters.
As published, weights are the initial ones and states standard normal, at all three D. Time is one standard normal
number for the batch, where the published code draws one for each state.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from bench.measure.clock import synchronize
from bench.stats import fit_exponent
from replications.ffjord.experiments.trace.run import closed_form, jacobian
from replications.flows.density.divergence import Divergence
from replications.ot_flow.potential import RANK, GradientField, Potential
from replications.tasks.trace.estimators import by_loop, by_vjp

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.ot_flow.experiments.trace.declaration import TraceConfig

UNITS = "unit vectors"
BY_GRAM = "exact by G"
EXPECTED = "expected-1"
PROBE = Divergence("rademacher")
PUSHED = 2
"""The first so many numbers of vectors are also pushed: their cost is a line, and the most would fill the memory."""

Products = Callable[[GradientField, Tensor, Tensor, Tensor], Tensor]
"""(field, t, x `(B, D)`, eps `(K, B, D)`) -> sum_k eps_k^T J eps_k `(B,)`."""


class Repeat(NamedTuple):
    """Wall times and relative errors of every way."""

    seconds: dict[str, float]
    errors: dict[str, float]


def run(run: Run, config: TraceConfig) -> None:
    """Measure every way, with weights, states and vectors of its own in each repeat."""
    repeats = []
    for i in range(config.repeats):
        repeats.append(repeat(run, config, i))
        run.progress(i + 1, config.repeats)
    record(run, config, repeats)


@torch.no_grad()
def repeat(run: Run, config: TraceConfig, i: int) -> Repeat:
    """Return what the ways take and how far their traces are from the exact one, all in turn."""
    phi = Potential(config.dim, config.width, config.layers, run.torch_generator(f"weights/{i}"))
    field = GradientField(phi).requires_grad_(False).to(run.device)
    draws = run.torch_generator(f"states/{i}")
    x = torch.randn(config.batch, config.dim, generator=draws).to(run.device)
    t = torch.randn((), generator=draws).to(run.device)
    marks = config.marks
    warm_up(field, t, x)
    seconds, exact = timed(lambda: -phi.derivatives(t, x, short=False)[2], x.device)
    found = Repeat({"exact": seconds}, {EXPECTED: expected(field, t, x[: config.checked], exact)})
    found.seconds[BY_GRAM], trace = timed(lambda: -phi.derivatives(t, x, short=True)[2], x.device)
    found.errors[BY_GRAM] = relative(trace, exact)
    for name, products, at in (
        ("hutchinson", by_gradients, marks),
        ("pushed", by_pushes, marks[:PUSHED]),
    ):
        vectors = run.torch_generator(f"vectors/{i}")
        for k, seconds, estimate in estimates(products, field, t, x, at, vectors):
            found.seconds[f"{name}-{k}"] = seconds
            if products is by_gradients:  # by pushes the estimates are the same
                found.errors[f"{name}-{k}"] = relative(estimate, exact)
    found.seconds[UNITS], trace = timed(lambda: by_loop(field, t, x)[1], x.device)
    found.errors[UNITS] = relative(trace, exact)
    return found


def warm_up(field: GradientField, t: Tensor, x: Tensor) -> None:
    """Call each way once, unmeasured."""
    for short in (False, True):
        field.potential.derivatives(t, x, short)
    eps = torch.ones_like(x)[None]
    by_gradients(field, t, x, eps)
    by_pushes(field, t, x, eps)


def timed(work: Callable[[], Tensor], device: torch.device) -> tuple[float, Tensor]:
    """Return a piece of work's wall time in seconds, and its result."""
    synchronize(device)
    start = time.perf_counter()
    result = work()
    synchronize(device)
    return time.perf_counter() - start, result


# -- estimates --------------------------------------------------------------------------------------------------


def by_gradients(field: GradientField, t: Tensor, x: Tensor, eps: Tensor) -> Tensor:
    """Return sum_k eps_k^T J eps_k `(B,)`: for each vector the field once more and one backward pass."""
    total = x.new_zeros(len(x))
    for one in eps:
        total += by_vjp(field, t, x, one)[1]
    return total


def by_pushes(field: GradientField, t: Tensor, x: Tensor, eps: Tensor) -> Tensor:
    """Return sum_k eps_k^T J eps_k `(B,)`: all vectors pushed forwards through the field together."""
    return len(eps) * Divergence("rademacher", len(eps))(field, t, x, eps).divergence


def estimates(
    products: Products,
    field: GradientField,
    t: Tensor,
    x: Tensor,
    marks: Sequence[int],
    generator: torch.Generator,
) -> Iterator[tuple[int, float, Tensor]]:
    """Yield each K of `marks`, the seconds spent so far, and the estimate `(B,)` of tr J by the first K vectors."""
    done, seconds, total = 0, 0.0, x.new_zeros(len(x))
    for k in marks:
        eps = torch.cat([vector(x, generator) for _ in range(k - done)])
        spent, added = timed(lambda eps=eps: products(field, t, x, eps), x.device)  # type: ignore[misc]
        done, seconds, total = k, seconds + spent, total + added
        yield k, seconds, total / k


def vector(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return one Rademacher vector `(1, B, D)`; drawn alone, it does not depend on how many are drawn together."""
    eps = PROBE.draw(x, generator)
    assert eps is not None  # an estimate draws
    return eps


def relative(estimate: Tensor, exact: Tensor) -> float:
    """Return |estimate - exact| / |exact|, Euclidean norms over the batch."""
    return ((estimate - exact).norm() / exact.norm()).item()


def expected(field: GradientField, t: Tensor, x: Tensor, exact: Tensor) -> float:
    """Return the root mean square of the error of one vector, from the Hessians at the states x `(b, D)`.

    Args:
        field: f.
        t: time, a scalar.
        x: some states of the batch.
        exact: traces `(B,)` of the whole batch.
    """
    variance = closed_form(jacobian(field, t, x), "rademacher")
    return (variance / exact.square().mean().item()) ** 0.5


# -- results ----------------------------------------------------------------------------------------------------


def operations(config: TraceConfig) -> dict[str, int]:
    """Return the floating point operations of both exact ways and of `hutchinson-1`, see the table."""
    d, m, layers = config.dim, config.width, config.layers - 1
    gradient = 4 * config.batch * (d * m + layers * m**2 + min(RANK, d + 1) * d)
    return {
        "exact": gradient + 2 * config.batch * d * layers * m**2,
        BY_GRAM: gradient + 2 * config.batch * (2 * layers - 1) * m**3 + 2 * d * m**2,
        "hutchinson-1": 2 * gradient,
    }


def record(run: Run, config: TraceConfig, repeats: Sequence[Repeat]) -> None:
    """Record medians of times and of their quotients, and means of errors, over the repeats."""
    told = f"float32/batch {config.batch}/m = {config.width}/{config.layers} layers"
    told = f"{told}/initial weights, normal states/{config.repeats} repeats"
    record_times(run, config.marks, [r.seconds for r in repeats], told)
    record_errors(run, config.marks, [r.errors for r in repeats], told)
    found = operations(config)
    for way in ("exact", BY_GRAM):
        quotient = found[way] / found["hutchinson-1"]
        run.metric(f"ratio[operations: {way}/hutchinson-1]", quotient, f"counted/{told}")


def record_times(run: Run, marks: Sequence[int], seconds: Sequence[Mapping[str, float]], told: str) -> None:
    """Record the median time of each way, and the medians of quotients within a repeat."""
    n, (first, last) = len(seconds), (marks[0], marks[-1])
    medians = {name: statistics.median(s[name] for s in seconds) for name in seconds[0]}
    for name, value in medians.items():
        run.metric(f"evaluation_time[{name}]", value, told, n)
    one, most, pushed = f"hutchinson-{first}", f"hutchinson-{last}", f"pushed-{first}"
    pairs = (("exact", one), (BY_GRAM, one), ("exact", BY_GRAM), ("exact", pushed), ("exact", UNITS))
    for a, b in (*pairs, (most, "exact"), (pushed, one)):
        quotient = statistics.median(s[a] / s[b] for s in seconds)
        run.metric(f"ratio[time: {a}/{b}]", quotient, told, n)
    for way in ("exact", BY_GRAM):
        worth = statistics.median(last * s[way] / s[most] for s in seconds)
        run.metric(f"ratio[time: {way}/vector]", worth, f"{told}/a vector takes its share of all D", n)
    series(run, "time", "time (s)", marks, medians, told)


def record_errors(run: Run, marks: Sequence[int], errors: Sequence[Mapping[str, float]], told: str) -> None:
    """Record the mean error of each way, and that of one vector over the expected one."""
    n, means = len(errors), {}
    for name in errors[0]:
        values = [e[name] for e in errors]
        means[name] = statistics.fmean(values)
        se = statistics.stdev(values) / n**0.5 if n > 1 else None
        run.metric(f"trace_error[{name}]", means[name], told, n, se)
    law = [means[EXPECTED] / k**0.5 for k in marks]
    one = f"hutchinson-{marks[0]}"
    run.metric(f"ratio[error: {one}/expected]", means[one] / law[0], told, n)
    series(run, "error", "relative error", marks, means, told)
    run.curve("error/K[expected]", marks, law, "K", "relative error")


def series(
    run: Run, what: str, label: str, marks: Sequence[int], values: Mapping[str, float], protocol: str
) -> None:
    """Record the estimate's time or error against K as a curve, and the exponent p of a fitted K^p."""
    y = [values[f"hutchinson-{k}"] for k in marks]
    run.curve(f"{what}/K[hutchinson]", marks, y, "K", label)
    fit = fit_exponent(marks, y)
    run.metric(f"scaling_exponent[{what}/K: hutchinson]", fit.slope, protocol, fit.n, fit.slope_se)
