r"""The divergence of a field, tr J with J = df/dx, exact or estimated.

| symbol | code | shape | equation |
|---|---|---|---|
| eps_k | `eps` | `(K, B, *S)` | probes with E eps eps^T = I, fixed along a solve |
| tr J | `Evaluation.divergence` | `(B,)` | exact: sum_i e_i^T J e_i; estimate: 1/K sum_k eps_k^T J eps_k |
| \|J\|_F^2 | `Evaluation.frobenius` | `(B,)` | exact: sum_i \|J e_i\|^2; estimate: 1/K sum_k \|J eps_k\|^2 |

Both estimates are unbiased. With A = (J + J^T)/2 the variance of the first is 2 |A|_F^2 / K for Gaussian probes,
and 2 (|A|_F^2 - sum_i A_ii^2) / K for Rademacher's (hutchinson1990stochastic, grathwohl2019ffjord). Papers that write
the second with eps^T J mean the same number: E|eps^T J|^2 = E|J eps|^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from replications.flows.errors import RequestError
from replications.flows.fields.mlp import MlpField
from replications.flows.fields.pushforward import SLOPES, layers_at, push

KINDS = ("exact", "rademacher", "gaussian")
CLOSED_FORM_DEPTHS = (1, 2)


class Evaluation(NamedTuple):
    """A field at a batch of states: f `(B, *S)`, tr J `(B,)`, where asked for |J|_F^2 `(B,)`, and dPhi/dt `(B,)`.

    The last is that of a potential with f = -grad Phi, for the fields that have one.
    """

    f: Tensor
    divergence: Tensor
    frobenius: Tensor | None = None
    potential_t: Tensor | None = None


@runtime_checkable
class Traced(Protocol):
    """A field with its divergence in closed form."""

    def divergence(self, t: Tensor, x: Tensor) -> Evaluation:
        """Return f(t, x) `(B, *S)` and tr J `(B,)`, and dPhi/dt where f is the gradient of a potential."""


@dataclass(frozen=True)
class Divergence:
    """How to get tr J, and with it |J|_F^2.

    Args:
        kind: `exact`, or Hutchinson's estimator with `rademacher` or `gaussian` probes.
        probes: K, number of the estimator's probes for each state.

    Raises:
        RequestError: unknown kind, or K below 1.
    """

    kind: str = "exact"
    probes: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise RequestError(f"unknown divergence {self.kind!r}; use one of {', '.join(KINDS)}")
        if self.probes < 1:
            raise RequestError(f"the divergence needs at least 1 probe, got {self.probes}")

    @property
    def protocol(self) -> str:
        """Its name in a protocol id: `exact-trace`, `rademacher-1`, `gaussian-4`."""
        return "exact-trace" if self.kind == "exact" else f"{self.kind}-{self.probes}"

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor | None:
        """Return probes `(K, B, *S)` for a solve from the states x; None for `exact`, which draws nothing."""
        shape, device = (self.probes, *x.shape), generator.device
        if self.kind == "exact":
            return None
        if self.kind == "gaussian":
            return torch.randn(shape, generator=generator, dtype=x.dtype, device=device).to(x.device)
        bits = torch.randint(2, shape, generator=generator, device=device)
        return (2 * bits - 1).to(x)

    def __call__(
        self, field: nn.Module, t: Tensor, x: Tensor, eps: Tensor | None, frobenius: bool = False
    ) -> Evaluation:
        """Return f, tr J and, where asked for, |J|_F^2 at a scalar t and the states x `(B, *S)`.

        Args:
            field: f, called as `field(t, x)`; no state of the batch may influence another.
            t: time, a scalar.
            x: states `(B, *S)`.
            eps: probes `(K, B, *S)`; not used by `exact`.
            frobenius: whether |J|_F^2 is wanted.

        Raises:
            RequestError: an estimate without probes.
        """
        if self.kind == "exact":
            return exact(field, t, x, frobenius)
        if eps is None:
            raise RequestError(f"the divergence {self.protocol} needs probes: pass eps or a generator")
        return _probed(field, t, x, eps, 1 / len(eps), frobenius)


EXACT = Divergence()


def exact(field: nn.Module, t: Tensor, x: Tensor, frobenius: bool = False) -> Evaluation:
    """Return f, tr J and, where asked for, |J|_F^2, all exact.

    The trace comes from the field's own `divergence(t, x)` where it has one, and for an `MlpField` with one or two
    hidden layers from a closed form, whose cost does not depend on the dimension; otherwise D unit vectors are pushed
    through the field.
    """
    if isinstance(field, Traced) and not frobenius:
        return field.divergence(t, x)
    if isinstance(field, MlpField) and len(field.layers) - 1 in CLOSED_FORM_DEPTHS and not frobenius:
        return _closed_form(field, t, x)
    d = math.prod(x.shape[1:])
    units = torch.eye(d, dtype=x.dtype, device=x.device).reshape(d, 1, *x.shape[1:])
    return _probed(field, t, x, units.expand(d, *x.shape), 1.0, frobenius)


def _probed(field: nn.Module, t: Tensor, x: Tensor, v: Tensor, weight: float, frobenius: bool) -> Evaluation:
    """Return f, weight sum_k v_k^T J v_k and, where asked for, weight sum_k |J v_k|^2."""
    f, jv = push(field, t, x, v)
    return Evaluation(
        f, weight * _over_states(v * jv), weight * _over_states(jv.square()) if frobenius else None
    )


def _over_states(products: Tensor) -> Tensor:
    """Sum `(K, B, *S)` over all axes but B."""
    return products.flatten(2).sum((0, 2))


def _closed_form(field: MlpField, t: Tensor, x: Tensor) -> Evaluation:
    """Return f and tr J of a network with one or two hidden layers.

    With s_l the slopes of hidden layer l, J = W_2 diag(s_1) W_1 has tr J = sum_j s_1j (W_1 W_2)_jj, and
    J = W_3 diag(s_2) W_2 diag(s_1) W_1 has tr J = s_2^T (W_2 * (W_1 W_3)^T) s_1, * elementwise.
    """
    maps, slopes = layers_at(field, t), []
    for w, c in maps[:-1]:
        z = functional.linear(x, w, c)
        x = field.activation(z)
        slopes.append(SLOPES[field.activation](torch.ones_like(z), z, x))
    first, last = maps[0][0], maps[-1][0]
    if len(slopes) == 1:
        trace = slopes[0] @ (first * last.T).sum(1)
    else:
        coupling = maps[1][0] * (first @ last).T
        trace = (slopes[1] * functional.linear(slopes[0], coupling)).sum(1)
    return Evaluation(functional.linear(x, *maps[-1]), trace)
