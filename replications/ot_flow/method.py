r"""OT-Flow: maximum likelihood along nearly straight paths; the field is the gradient of a potential (onken2021otflow).

| symbol | code | shape | equation |
|---|---|---|---|
| x, z | `x`, `path.z` | `(B, D)` | dx/dt = -grad Phi(x, t), 0 <= t <= 1, data x(0), base z = x(1) |
| L | `Costs.L` | `(B,)` | integral of 1/2 \|grad Phi\|^2 dt, the transport cost |
| C | `Costs.C` | `(B,)` | -log p(x) = 1/2 \|z\|^2 + D/2 log 2 pi - delta, delta the integral of -tr Hessian |
| R | `Costs.R` | `(B,)` | integral of \|-dPhi/dt + 1/2 \|grad Phi\|^2\| dt, the HJB penalty |
| J | `objective` | | mean of L + alpha_C C + alpha_R R |
| I | `Costs.straightness` | `(B,)` | integral of \|f - (z - x)\|^2 dt = 2 L - \|z - x\|^2; zero if straight and even |
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor

from replications.flows.density.cnf import CNF
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.ode.solver import Solver
from replications.ot_flow.config import OTFlowConfig
from replications.ot_flow.potential import GradientField, Potential
from replications.tasks.method import Method

BUILDER = "replications.ot_flow.method:build"
REGULARIZERS = ("kinetic_half_sum", "hjb")


class Costs(NamedTuple):
    """The terms of the objective for each state of a batch, and how far its path is from a straight one."""

    L: Tensor
    C: Tensor
    R: Tensor
    straightness: Tensor

    def weighted(self, config: OTFlowConfig) -> Tensor:
        """Return the mean of L + alpha_C C + alpha_R R, a scalar."""
        return (self.L + config.alpha_C * self.C + config.alpha_R * self.R).mean()


def build(dim: int, width: int, layers: int = 2, generator: torch.Generator | None = None) -> CNF:
    """Return an untrained OT-Flow with the base density N(0, I).

    Args:
        dim: D.
        width: m, of the potential's layers.
        layers: M.
        generator: draws the parameters; None where they will be loaded.
    """
    generator = generator or torch.Generator().manual_seed(0)
    return CNF(GradientField(Potential(dim, width, layers, generator)), StandardNormal(dim))


def in_training(config: OTFlowConfig) -> Integration:
    """Return how the flow is integrated in training."""
    return dataclasses.replace(rk4(config.steps), gradient=config.gradient, compiled=config.compiled)


def rk4(steps: int) -> Integration:
    """Return integration of all terms by so many equal steps of RK4, with the exact trace."""
    return Integration(Solver("rk4", steps=steps), regularizers=REGULARIZERS)


def costs(flow: Flow, x: Tensor, integration: Integration) -> Costs:
    """Return the terms of the objective of data x `(B, D)`; `integration` integrates them."""
    path = flow.path(x, integration=integration)
    L, R = (path.integrals[name] for name in REGULARIZERS)
    C = -(flow.prior.log_prob(path.z) + path.delta)
    return Costs(L, C, R, 2 * L - (path.z - x).square().sum(1))


def objective(flow: Flow, x: Tensor, config: OTFlowConfig) -> Tensor:
    """Return J of data x `(B, D)`, a scalar, as the training integrates it."""
    return costs(flow, x, in_training(config)).weighted(config)


METHOD = Method(in_training, lambda flow, x, config, _: objective(flow, x, config))
"""Nothing in it is random."""


@torch.no_grad()
def clamp(flow: Flow, largest: float) -> None:
    """Bring every parameter into [-largest, largest]; 0 leaves them as they are."""
    if largest:
        for parameter in flow.parameters():
            parameter.clamp_(-largest, largest)
