"""Continuous normalizing flows: a density carried along dx/dt = f(t, x) (chen2018neural, grathwohl2019ffjord).

| symbol | code | shape | equation |
|---|---|---|---|
| x, z | `x`, `z` | `(B, *S)` | data x = x(0), base z = x(T), dx/dt = f(t, x) |
| delta | `Path.delta` | `(B,)` | integral of tr df/dx over 0..T |
| log p(x) | `CNF.log_prob` | `(B,)` | log p_0(z) + delta, in nats |
| R_j | `Path.integrals` | `(B,)` | integral of the regularizer r_j over 0..T |
| T | `CNF.T` | scalar | end time, given or learned |

Data at t = 0 and base at t = T is how the authors of FFJORD and RNODE run it; FFJORD's text has it the other way.

A learned T can not be a limit of integration, which has no gradient. It is a factor instead: with t = T s the
equation is dx/ds = T f(T s, x) on 0 <= s <= 1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from replications.flows.density.flow import Flow, Path, Prior, Request
from replications.flows.density.integration import DEFAULT, Integration
from replications.flows.density.regularizers import REGULARIZERS, needs_frobenius
from replications.flows.errors import RequestError
from replications.flows.ode.solve import solve

State = Tensor | tuple[Tensor, ...]
Parts = TypeVar("Parts", Tensor, tuple[Tensor, ...])
Slopes = Callable[[nn.Module, Tensor, Tensor], State]
"""(field, t, x) -> slopes of the parts of the state, x first, or that of x; they depend on x alone."""


class CNF(Flow):
    """A continuous normalizing flow.

    Args:
        field: f, called as `field(t, x)` with a scalar t; no state of a batch may influence another.
        prior: density p_0 of z.
        integration: how it is integrated; every method takes another one in its place.
        T: end time; where it starts, if learned.
        learn_T: make sqrt(T) a parameter.

    Raises:
        RequestError: T <= 0.
    """

    def __init__(
        self,
        field: nn.Module,
        prior: Prior,
        integration: Integration = DEFAULT,
        T: float = 1.0,
        learn_T: bool = False,
    ) -> None:
        super().__init__(prior)
        if T <= 0:
            raise RequestError(f"the end time T must be positive, got {T:g}")
        self.field, self.integration = field, integration
        self.root_T = nn.Parameter(torch.tensor(math.sqrt(T))) if learn_T else None
        self._given_T = T

    @property
    def T(self) -> float:
        """The end time."""
        return self._given_T if self.root_T is None else self.root_T.item() ** 2

    def _carry(self, x: Tensor, request: Request) -> Path:
        """Carry data to the base; probes `(K, B, *S)` and a random end time come from the generator, in this order."""
        integration, eps = request.integration or self.integration, request.eps
        if eps is None and request.generator is not None:
            eps = integration.divergence.draw(x, request.generator)
        end = integration.draw_end(request.generator) if request.end is None else request.end
        zero = x.new_zeros(len(x))
        state = (x, zero, *(zero for _ in integration.regularizers))
        z, delta, *integrals = self._solve(
            functools.partial(_joint, integration, eps), state, 0.0, end, integration
        )
        return Path(
            z, delta, {name: r / integration.scale for name, r in zip(integration.regularizers, integrals)}
        )

    def encode(self, x: Tensor, integration: Integration | None = None) -> Tensor:
        """Return z = x(T) of data x `(B, *S)`; no divergence is computed, only x steers the steps."""
        return self._solve(_alone, x, 0.0, 1.0, integration or self.integration)

    def decode(self, z: Tensor, integration: Integration | None = None) -> Tensor:
        """Return x = x(0) of base points z `(B, *S)`; as `encode`, backwards."""
        return self._solve(_alone, z, 1.0, 0.0, integration or self.integration)

    def _solve(
        self, slopes: Slopes, state: Parts, start: float, end: float, integration: Integration
    ) -> Parts:
        """Solve from `start` to `end`, multiples of T."""
        unit = self._given_T if self.root_T is None else 1.0
        field = self.field
        if slopes is not _alone or self.root_T is not None:  # else the slope is the field's own
            # An object for each solve: a backward pass that comes after the next solve still meets its own probes.
            field = _Dynamics(self.field, slopes, self.root_T)
        return solve(
            field,
            state,
            start * unit,
            end * unit,
            integration.solver,
            integration.gradient,
            compiled=integration.compiled,
            counter=self.counter,
        )


class _Dynamics(nn.Module):
    """The state's slopes, in the time t or, where T is learned, s = t / T."""

    def __init__(self, field: nn.Module, slopes: Slopes, root_T: Tensor | None) -> None:
        super().__init__()
        self.field, self.slopes, self.root_T = field, slopes, root_T

    def forward(self, t: Tensor, state: State) -> State:
        x = state if isinstance(state, Tensor) else state[0]
        if self.root_T is None:
            return self.slopes(self.field, t, x)
        T = self.root_T.square()
        slopes = self.slopes(self.field, T * t, x)
        return T * slopes if isinstance(slopes, Tensor) else tuple(T * slope for slope in slopes)


def _alone(field: nn.Module, t: Tensor, x: Tensor) -> Tensor:
    """Return the slope of x, which as the whole state is not copied into one with others."""
    return cast(Tensor, field(t, x))


def _joint(
    integration: Integration, eps: Tensor | None, field: nn.Module, t: Tensor, x: Tensor
) -> tuple[Tensor, ...]:
    """Return the slopes of x, delta and the integrals of the regularizers."""
    at = integration.divergence(field, t, x, eps, needs_frobenius(integration.regularizers))
    return (
        at.f,
        at.divergence,
        *(integration.scale * REGULARIZERS[name](at) for name in integration.regularizers),
    )
