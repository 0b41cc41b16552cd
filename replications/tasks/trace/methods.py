r"""Methods that compute or estimate the divergence of an `MlpField`, and the floating point operations of each.

| method | name | cost in evaluations of f |
|---|---|---|
| f alone | `field` | 1 |
| exact, D unit vectors pushed forward together | `exact` | 1 + D |
| exact, a backward pass for each dimension, as most codes do | `loop` | 1 + D |
| exact, closed form of one or two hidden layers | `closed form` | about 1, and 2 D H_1 H_2 for the batch |
| estimate, K probes pushed forward together | `hutchinson-K` | 1 + K |
| estimate, one backward pass, as most codes do | `vjp` | 2 |
| the adjoint's two products, by state and parameters | `vjp, parameters` | 3 |

One evaluation of f takes 2 sum_l n_l n_{l+1} operations for a state, with n_l the widths D, H_1..., D; activations and
gates, whose number grows with sum_l n_l alone, are not counted. A product of J with a vector, on either side, counts as
one evaluation.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from replications.flows.density.divergence import CLOSED_FORM_DEPTHS, Divergence, exact
from replications.flows.fields.mlp import MlpField

Result = tuple[Tensor, Tensor]
"""f `(B, D)` and its divergence or an estimate `(B,)`."""


@dataclass(frozen=True)
class TraceMethod:
    """A method to get the divergence: its operations for widths and batch, and its work, with probes `(K, B, D)`."""

    flops: Callable[[Sequence[int], int], int]
    work: Callable[[MlpField, Tensor, Tensor, Tensor], object]


def trace_methods(layers: int, probes: Sequence[int]) -> dict[str, TraceMethod]:
    """Return every method for a number of hidden layers, by name; the estimates with each number K of probes."""
    found = {
        "field": TraceMethod(lambda n, b: evaluations(n, b, 1), lambda field, t, x, eps: field(t, x)),
        "exact": TraceMethod(
            lambda n, b: evaluations(n, b, 1 + n[0]), lambda field, t, x, eps: by_units(field, t, x)
        ),
        "loop": TraceMethod(
            lambda n, b: evaluations(n, b, 1 + n[0]), lambda field, t, x, eps: by_loop(field, t, x)
        ),
        "vjp": TraceMethod(
            lambda n, b: evaluations(n, b, 2), lambda field, t, x, eps: by_vjp(field, t, x, eps[0])
        ),
        "vjp, parameters": TraceMethod(
            lambda n, b: evaluations(n, b, 3), lambda field, t, x, eps: adjoint_product(field, t, x, eps[0])
        ),
    }
    for k in probes:
        found[f"hutchinson-{k}"] = TraceMethod(
            lambda n, b, k=k: evaluations(n, b, 1 + k),  # type: ignore[misc]
            lambda field, t, x, eps, k=k: Divergence("rademacher", k)(field, t, x, eps[:k]),  # type: ignore[misc]
        )
    if layers in CLOSED_FORM_DEPTHS:
        found["closed form"] = TraceMethod(closed_form_flops, lambda field, t, x, eps: exact(field, t, x))
    return found


def evaluations(widths: Sequence[int], batch: int, n: int) -> int:
    """Return the floating point operations of n evaluations of f, 2 sum_l n_l n_{l+1} each for a state."""
    return 2 * n * batch * sum(a * b for a, b in itertools.pairwise(widths))


def closed_form_flops(widths: Sequence[int], batch: int) -> int:
    """Return operations of f and its closed form: for two hidden layers W_1 W_3 once, H_1 x H_2 for each state."""
    d, *hidden, _ = widths
    coupling = 2 * hidden[0] * hidden[1] * (d + batch) if len(hidden) == 2 else 2 * batch * hidden[0]
    return evaluations(widths, batch, 1) + coupling


def by_units(field: nn.Module, t: Tensor, x: Tensor) -> Result:
    """Return f and tr J by D unit vectors pushed forward together, for any depth."""
    at = Divergence("gaussian")(field, t, x, unit_vectors(x))  # an estimate is a mean over its probes
    return at.f, x.shape[1] * at.divergence


def unit_vectors(x: Tensor) -> Tensor:
    """Return e_i `(D, B, D)` at states `(B, D)`."""
    d = x.shape[1]
    return torch.eye(d, dtype=x.dtype, device=x.device)[:, None].expand(d, *x.shape)


def by_loop(field: nn.Module, t: Tensor, x: Tensor) -> Result:
    """Return f and tr J by a backward pass for each dimension."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        f = field(t, x)
        trace = x.new_zeros(len(x))
        for i in range(x.shape[1]):
            trace += torch.autograd.grad(f[:, i].sum(), x, retain_graph=True)[0][:, i]
    return f.detach(), trace


def by_vjp(field: nn.Module, t: Tensor, x: Tensor, eps: Tensor) -> Result:
    """Return f and eps^T J eps by one backward pass; eps `(B, D)`."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        f = field(t, x)
    (product,) = torch.autograd.grad(f, x, eps)
    return f.detach(), (product * eps).sum(1)


def adjoint_product(field: nn.Module, t: Tensor, x: Tensor, a: Tensor) -> tuple[Tensor, ...]:
    """Return f, a^T df/dx and a^T df/dtheta, which the adjoint's equation asks for at each evaluation; a `(B, D)`."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        f = field(t, x)
    return f.detach(), *torch.autograd.grad(f, (x, *field.parameters()), a)
