"""Jacobian-vector products pushed through a field together with the state, without reverse-mode autograd.

| symbol | code | shape | equation |
|---|---|---|---|
| v_k | `v` | `(K, B, *S)` | tangents at the states x `(B, *S)` |
| J v_k | `push` | `(K, B, *S)` | J = df/dx at (t, x), one for each state |
| W_t, c_t | `affine_at` | `(out, in)`, `(out,)` | what a layer is at the time t: x -> W_t x + c_t |
| s'(z) | `SLOPES` | as z | slope of an activation: tangents pass it as v -> s'(z) v |

Everything here is differentiable once more by reverse-mode autograd: no double backward.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from replications.flows.fields.mlp import ConcatLinear, ConcatSquashLinear, MlpField

aten = torch.ops.aten

SELU = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
"""alpha and lambda of selu(z) = lambda z for z > 0, lambda alpha (e^z - 1) below."""

SLOPES: dict[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    torch.tanh: lambda v, z, h: aten.tanh_backward(v, h),
    torch.relu: lambda v, z, h: aten.threshold_backward(v, h, 0),
    functional.softplus: lambda v, z, h: aten.softplus_backward(v, z, 1, 20),
    functional.elu: lambda v, z, h: aten.elu_backward(v, 1, 1, 1, False, z),
    functional.silu: lambda v, z, h: v * (z.sigmoid() * (1 + z - h)),  # torch's kernel has no derivative
    functional.selu: lambda v, z, h: aten.elu_backward(v, *SELU, 1, False, z),
}
"""(v, z, h = s(z)) -> s'(z) v, mostly in one kernel, all of one shape: torch's backward of s, of diagonal Jacobian."""


@runtime_checkable
class Pushable(Protocol):
    """A field that pushes tangents through itself."""

    def pushforward(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(t, x) `(B, *S)` and J v `(K, B, *S)`."""


def push(field: nn.Module, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return f(t, x) `(B, *S)` and J v `(K, B, *S)` for K tangents v of each state.

    By the field's own `pushforward(t, x, v)` where it has one, by the layers of an `MlpField` otherwise, and for any
    other field by forward-mode automatic differentiation, which in eager mode costs several times as much.

    Args:
        field: f, called as `field(t, x)`; no state of the batch may influence another.
        t: time, a scalar.
        x: states `(B, *S)`.
        v: tangents `(K, B, *S)`.
    """
    if isinstance(field, Pushable):
        return field.pushforward(t, x, v)
    if isinstance(field, MlpField):
        return _push_mlp(field, t, x, v)
    return push_dual(field, t, x, v)


def push_dual(field: nn.Module, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Do as `push` by forward-mode automatic differentiation, whatever the field has of its own."""
    _load_jvp()

    def one(u: Tensor) -> Any:
        return torch.func.jvp(lambda y: field(t, y), (x,), (u,))

    return torch.func.vmap(one, out_dims=(None, 0))(v)  # type: ignore[arg-type]  # None: f has no axis K


@functools.cache
def _load_jvp() -> None:
    """Let torch prepare its forward mode, which at first use warns of a deprecated part of torch itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(1),), (torch.ones(1),))


def _push_mlp(field: MlpField, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    *hidden, (w, c) = layers_at(field, t)
    slope = SLOPES[field.activation]
    for w_i, c_i in hidden:
        z = functional.linear(x, w_i, c_i)
        x = field.activation(z)
        v = functional.linear(v, w_i)
        v = slope(v, z.expand_as(v), x.expand_as(v))
    return functional.linear(x, w, c), functional.linear(v, w)


def layers_at(field: MlpField, t: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the affine maps (W_t, c_t) between the activations of a field at a scalar time."""
    maps = [affine_at(layer, t) for layer in field.layers]
    if field.time is not None:
        w, c = maps[-1]
        maps[-1] = w, c + field.time.bias + t * field.time.weight[:, 0]
    return maps


def affine_at(layer: nn.Module, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return W_t `(out, in)` and c_t `(out,)` of a layer of an `MlpField` at a scalar time.

    Scaling the weights by the gate, rather than the result for each state, leaves the matrix product as the only
    work that grows with the batch.

    Raises:
        TypeError: another kind of layer.
    """
    if isinstance(layer, ConcatLinear):
        return layer.weight[:, :-1], layer.bias + t * layer.weight[:, -1]
    if isinstance(layer, ConcatSquashLinear):
        gate = torch.sigmoid(layer.gate.bias + t * layer.gate.weight[:, 0])
        return gate[:, None] * layer.layer.weight, gate * layer.layer.bias + t * layer.shift.weight[:, 0]
    if isinstance(layer, nn.Linear):
        return layer.weight, layer.bias
    raise TypeError(f"{type(layer).__name__} is not a layer of an MlpField")
