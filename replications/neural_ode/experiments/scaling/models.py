"""What is differentiated in `neural_ode.scaling`: a field's solution map, and a residual network of as many layers.

| symbol | code | shape | equation |
|---|---|---|---|
| f(h, t, theta) | `MlpField` | `(B, D)` | dh/dt = f(h, t, theta) (2) |
| h(1) | `SolutionMap` | `(B, D)` | h(0) + integral of f from 0 to 1 |
| h_L | `ResidualStack` | `(B, D)` | h_{l+1} = h_l + f_l(h_l) / L, l = 0..L-1 |
| loss | `mean_square` | scalar | mean of h^2 |
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from replications.flows.fields.mlp import MlpField
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver, solve


def new_field(
    dim: int, hidden: tuple[int, ...], gain: float, time: str, generator: torch.Generator
) -> MlpField:
    """Return a field whose initial parameters are multiplied by the gain."""
    field = MlpField(dim, hidden, generator, time)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.mul_(gain)
    return field


class ResidualStack(nn.Module):
    """A residual network: one field a layer, with its own parameters, and no time.

    Args:
        fields: f_0..f_{L-1}.
    """

    def __init__(self, fields: Sequence[nn.Module]) -> None:
        super().__init__()
        self.fields = nn.ModuleList(fields)

    def forward(self, h: Tensor) -> Tensor:
        """Return h_L `(B, D)`."""
        for field in self.fields:
            h = h + field(torch.zeros(()), h) / len(self.fields)
        return h


class SolutionMap(nn.Module):
    """The map h(0) -> h(1) of a field.

    Args:
        field: f.
        solver: of the solve.
        gradient: `backprop`, `adjoint` or `checkpoint`.
        counter: of the evaluations.
    """

    def __init__(
        self, field: nn.Module, solver: Solver, gradient: str, counter: Counter | None = None
    ) -> None:
        super().__init__()
        self.field, self.solver, self.gradient, self.counter = field, solver, gradient, counter

    def forward(self, h: Tensor) -> Tensor:
        """Return h(1) `(B, D)`."""
        return solve(self.field, h, 0.0, 1.0, self.solver, self.gradient, counter=self.counter)


def mean_square(h: Tensor) -> Tensor:
    """Return the loss, the mean of h^2."""
    return h.square().mean()
