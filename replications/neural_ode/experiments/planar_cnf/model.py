"""The planar flows of `neural_ode.planar_cnf` by name, each fast one way."""

from __future__ import annotations

import torch

from replications.flows.density.cnf import CNF
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.ode.solve import Solver
from replications.neural_ode.experiments.planar_cnf.inverted import Inverted
from replications.neural_ode.planar import PlanarField, PlanarLayers


def build(
    method: str,
    units: int,
    gate_hidden: int,
    tolerance: float,
    inverted: bool,
    generator: torch.Generator | None = None,
) -> Flow:
    """Return a planar flow in two dimensions from N(0, I).

    Args:
        method: `cnf` (T = 1, exact divergence), `nf` or `nf_shrunk`; see `PlanarLayers`.
        units: M hidden units, or layers.
        gate_hidden: see `PlanarField`; of `cnf`.
        tolerance: relative and absolute tolerance of dopri5; of `cnf`.
        inverted: fast from base to data.
        generator: draws the initial parameters; None where they are loaded.

    Raises:
        ValueError: unknown method.
    """
    generator = generator or torch.Generator().manual_seed(0)
    prior = StandardNormal(2)
    flow: Flow
    if method == "cnf":
        flow = CNF(PlanarField(2, units, gate_hidden, generator), prior, integration_at(tolerance))
    elif method in ("nf", "nf_shrunk"):
        flow = PlanarLayers(2, units, prior, generator, shrunk=method == "nf_shrunk")
    else:
        raise ValueError(f"method must be cnf, nf or nf_shrunk, not {method!r}")
    return Inverted(flow) if inverted else flow


def integration_at(tolerance: float) -> Integration:
    """Return dopri5 at rtol = atol = tolerance, with exact divergence and the gradient of the computed solution."""
    return Integration(Solver("dopri5", rtol=tolerance, atol=tolerance))
