r"""The exact trace and its estimates: time, error, operations; values, computed from field, states and vectors alone.

| symbol | code | shape | equation |
|---|---|---|---|
| H | | `(B, D, D)` | Hessian of Phi over x at each state; the field's Jacobian is -H |
| tr H | `EXACT` | `(B,)` | in closed form, grad Phi with it |
| v_k | `eps` | `(K, B, D)` | Rademacher vectors |
| est | `estimates` | `(B,)` | 1/K sum_k v_k^T H v_k |
| error | `relative_error` | scalar | \|est - tr H\| / \|tr H\|, norms over the batch: one number |
| expected | `expected_error` | scalar | sqrt(2/K mean(\|H\|_F^2 - sum_i H_ii^2) / mean((tr H)^2)), means over states |

| name | code | operations |
|---|---|---|
| grad Phi | | g = 4 B (D m + (M - 1) m^2 + r D), r the rank of A |
| exact | `Potential.derivatives` | g + 2 B D (M - 1) m^2: the paper's formula |
| exact by G | the same, `short` | g + 2 B (2 M - 3) m^3 + 2 D m^2: the same number, see `potential` |
| hutchinson-K | `by_gradients` | 2 g K: for each vector the gradient anew and one backward pass, as published |
| pushed-K | `by_pushes` | g (1 + K): K tangents pushed forwards together, no backward pass |
| unit vectors | `by_loop` | g (1 + D): exact, a backward pass for each dimension |

Operations are those of matrix products, a multiplication and an addition each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from bench.measure.clock import quotient
from replications.flows.density.divergence import Divergence
from replications.flows.density.evaluate import Clock
from replications.ot_flow.potential import RANK, GradientField
from replications.tasks.trace.methods import by_loop, by_vjp
from replications.tasks.trace.variance import estimate_variance, jacobian

if TYPE_CHECKING:
    from replications.ot_flow.experiments.trace.declaration import OTFlowTraceConfig

EXACT = "exact"
BY_GRAM = "exact by G"
UNITS = "unit vectors"
EXPECTED = "expected-1"
PROBE = Divergence("rademacher")
PUSHED = 2
"""The first so many numbers of vectors are also pushed: their cost is a line, and the most would fill the memory."""

Products = Callable[[GradientField, Tensor, Tensor, Tensor], Tensor]
"""(field, t, x `(B, D)`, eps `(K, B, D)`) -> sum_k eps_k^T J eps_k `(B,)`."""


class Comparison(NamedTuple):
    """Wall times in seconds and relative errors of all methods, by name; expected errors are no method's."""

    seconds: dict[str, float]
    errors: dict[str, float]


@torch.no_grad()
def compare(
    field: GradientField,
    t: Tensor,
    x: Tensor,
    numbers: Sequence[int],
    checked: int,
    vectors: Callable[[], torch.Generator],
    clock: Clock,
    backwards: bool = False,
) -> Comparison:
    """Return what the methods take and how far their traces are from the exact one.

    Args:
        field: f = -grad Phi, whose parameters need no gradient.
        t: a scalar time.
        x: states `(B, D)`.
        numbers: of vectors after which time and error are read, rising.
        checked: the first so many states, whose Hessians give the expected error.
        vectors: returns the stream of the vectors from its start.
        clock: reads the time in seconds, after the device has finished.
        backwards: whether the last method comes first, as in every second repeat.
    """
    warm_up(field, t, x)
    arms = arms_of(field, t, x, numbers, vectors, clock)
    order = reversed(arms) if backwards else arms
    timed = {name: each for arm in order for name, each in arms[arm]().items()}
    exact = timed[EXACT][1]
    found = Comparison({}, {EXPECTED: expected_error(field, t, x[:checked], exact)})
    for name, (seconds, trace) in timed.items():
        found.seconds[name] = seconds
        if name != EXACT and not name.startswith("pushed"):  # whose estimates are those by gradients
            found.errors[name] = relative_error(trace, exact)
    return found


Timed = dict[str, tuple[float, Tensor]]
"""Seconds and traces `(B,)` by name."""


def arms_of(
    field: GradientField,
    t: Tensor,
    x: Tensor,
    numbers: Sequence[int],
    vectors: Callable[[], torch.Generator],
    clock: Clock,
) -> dict[str, Callable[[], Timed]]:
    """Return what is timed one after the other, by name; arguments as those of `compare`."""
    derivatives = field.potential.derivatives

    def exact(short: bool) -> Tensor:
        return -derivatives(t, x, short=short)[2]

    def by(products: Products, name: str, numbers: Sequence[int]) -> Timed:
        found = estimates(products, field, t, x, numbers, vectors(), clock)
        return {f"{name}-{k}": (seconds, estimate) for k, seconds, estimate in found}

    return {
        EXACT: lambda: {EXACT: timed(partial(exact, short=False), clock)},
        BY_GRAM: lambda: {BY_GRAM: timed(partial(exact, short=True), clock)},
        "hutchinson": lambda: by(by_gradients, "hutchinson", numbers),
        "pushed": lambda: by(by_pushes, "pushed", numbers[:PUSHED]),
        UNITS: lambda: {UNITS: timed(lambda: by_loop(field, t, x)[1], clock)},
    }


def warm_up(field: GradientField, t: Tensor, x: Tensor) -> None:
    """Call each method once, unmeasured."""
    for short in (False, True):
        field.potential.derivatives(t, x, short)
    eps = torch.ones_like(x)[None]
    by_gradients(field, t, x, eps)
    by_pushes(field, t, x, eps)


def timed(work: Callable[[], Tensor], clock: Clock) -> tuple[float, Tensor]:
    """Return the time of a piece of work in seconds, and its result."""
    start = clock()
    result = work()
    return clock() - start, result


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
    numbers: Sequence[int],
    generator: torch.Generator,
    clock: Clock,
) -> Iterator[tuple[int, float, Tensor]]:
    """Yield each K of `numbers`, the seconds spent so far, and the estimate `(B,)` of tr J by the first K vectors.

    One pass over all vectors gives time and error after each K; vectors are drawn while the clock stands.
    """
    done, seconds, total = 0, 0.0, x.new_zeros(len(x))
    for k in numbers:
        eps = torch.cat([vector(x, generator) for _ in range(k - done)])
        spent, added = timed(lambda eps=eps: products(field, t, x, eps), clock)  # type: ignore[misc]
        done, seconds, total = k, seconds + spent, total + added
        yield k, seconds, total / k


def vector(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return one Rademacher vector `(1, B, D)`; drawn alone, it does not depend on how many are drawn together."""
    eps = PROBE.draw(x, generator)
    assert eps is not None  # an estimate draws
    return eps


def relative_error(estimate: Tensor, exact: Tensor) -> float:
    """Return |estimate - exact| / |exact|, Euclidean norms over the batch."""
    return ((estimate - exact).norm() / exact.norm()).item()


def expected_error(field: GradientField, t: Tensor, x: Tensor, exact: Tensor) -> float:
    """Return the root mean square of the error of one vector, from the Hessians at the states x `(b, D)`.

    Args:
        field: f.
        t: time, a scalar.
        x: some states of the batch.
        exact: traces `(B,)` of the whole batch.
    """
    variance = estimate_variance(jacobian(field, t, x), "rademacher")
    return (variance / exact.square().mean().item()) ** 0.5


# -- over the repeats -------------------------------------------------------------------------------------------


def quotients(numbers: Sequence[int], seconds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return quotients of times over the repeats, every second of which goes backwards, by the names of the two.

    Args:
        numbers: of vectors, as in `compare`.
        seconds: the times of each repeat.
    """
    one, most, pushed = f"hutchinson-{numbers[0]}", f"hutchinson-{numbers[-1]}", f"pushed-{numbers[0]}"
    of_exact = [(EXACT, one), (BY_GRAM, one), (EXACT, BY_GRAM), (EXACT, pushed), (EXACT, UNITS)]
    pairs = [*of_exact, (most, EXACT), (pushed, one)]
    return {f"{a}/{b}": quotient(*([s[name] for s in seconds] for name in (a, b))) for a, b in pairs}


def worth_in_vectors(numbers: Sequence[int], seconds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return how many vectors the exact methods are worth in time, a vector's being its share of all."""
    last = numbers[-1]
    most = [s[f"hutchinson-{last}"] for s in seconds]
    return {name: last * quotient([s[name] for s in seconds], most) for name in (EXACT, BY_GRAM)}


def operations(config: OTFlowTraceConfig) -> dict[str, int]:
    """Return the floating point operations of both exact methods and of `hutchinson-1`, see the table."""
    d, m, layers = config.dim, config.width, config.layers - 1
    gradient = 4 * config.batch * (d * m + layers * m**2 + min(RANK, d + 1) * d)
    return {
        EXACT: gradient + 2 * config.batch * d * layers * m**2,
        BY_GRAM: gradient + 2 * config.batch * (2 * layers - 1) * m**3 + 2 * d * m**2,
        "hutchinson-1": 2 * gradient,
    }
