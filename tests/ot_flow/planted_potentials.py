"""Flows of OT-Flow whose paths, densities and costs are known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from replications.flows.density.cnf import CNF
from replications.flows.density.priors import StandardNormal
from replications.ot_flow.potential import GradientField, Potential


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def blank(dim: int, width: int = 4) -> Potential:
    """Phi = 0 in float64."""
    phi = Potential(dim, width, 2, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for parameter in (phi.w, phi.A, phi.b):
            parameter.zero_()
    return phi


def translation(by: Tensor) -> CNF:
    """Phi = -by . x: every point x moves straight to x + by."""
    phi = blank(len(by))
    with torch.no_grad():
        phi.b[:-1] = -by
    return CNF(GradientField(phi), StandardNormal(len(by)))


def contraction(a: float, dim: int = 2) -> CNF:
    """Phi = a |x|^2 / 2: f = -a x, so that x ends at e^-a x; by one step of RK4 at growth(-a) x."""
    phi = blank(dim)
    with torch.no_grad():
        phi.A[:dim, :dim] = a**0.5 * torch.eye(dim)
    return CNF(GradientField(phi), StandardNormal(dim))


def growth(z: float, steps: int = 1) -> float:
    """What so many equal steps of any method of four stages and order 4 make of 1 where dx/dt = z x, over unit time."""
    h = z / steps
    return (1 + h + h**2 / 2 + h**3 / 6 + h**4 / 24) ** steps
