"""The weights that OT-Flow's authors published, evaluated by our code: no training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bench.data import tabular, toy2d
from bench.errors import UserError
from bench.measure.clock import reader
from replications.flows.density import evaluate as measured
from replications.flows.density.cnf import CNF
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.ode.solve import Solver
from replications.ot_flow.experiments.published_weights import weights
from replications.ot_flow.measured import OWN, record_costs, record_generated
from replications.ot_flow.method import rk4
from replications.ot_flow.potential import GradientField
from replications.tasks.density2d.evaluation import SAMPLES, fresh, record_mass
from replications.tasks.recording import record_checks, record_likelihood
from replications.tasks.splits import held_out

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.ot_flow.experiments.published_weights.declaration import PublishedConfig

FRESH = 10_000
"""Points of a 2-D set where all are asked for."""


def run(run: Run, config: PublishedConfig) -> None:
    """Measure L, C and R by the authors' solver, then by dopri5, and what must hold of any invertible density."""
    phi = weights.potential(weights.published(config.weights)).float()
    x = rows(run, config)
    if x.shape[1] != phi.dim:
        raise UserError(
            f"weights {config.weights!r} are for rows of {phi.dim} numbers, those of {config.data} have {x.shape[1]}"
        )
    flow = CNF(GradientField(phi), StandardNormal(phi.dim)).to(run.device)
    run.metric("parameters", sum(p.numel() for p in flow.parameters()), "published weights")
    record_costs(run, flow, x, config.own_steps)
    record_generated(run, flow, x, rk4(config.own_steps), config.generated)
    integration = Integration(Solver("dopri5", 1e-5, 1e-5))
    record_likelihood(run, measured.likelihood(flow, x, integration, clock=reader(run.device)), integration)
    few = x[: config.checked]
    record_checks(run, flow, few, integration)
    _float64(run, flow, few, config)
    if x.shape[1] == 2:
        record_mass(run, flow, integration, config)
        samples = flow.sample(SAMPLES, run.torch_generator("samples"), integration)
        run.artifact("samples", samples)


def rows(run: Run, config: PublishedConfig) -> Tensor:
    """Return the rows `(N, D)` of the config in float32."""
    if config.data in toy2d.names():
        return held_out(fresh(run, config.data).test(config.rows or FRESH))
    data = tabular.load(config.data)
    # The held-out set trains on most of the published validation rows; together they are all of them.
    whole = {"test": data.test, "validation": np.concatenate([data.train, data.validation])}
    x = whole[config.split][: config.rows or None]
    return torch.tensor(x, dtype=torch.float32, device=run.device)


@torch.no_grad()
def _float64(run: Run, flow: CNF, x: Tensor, config: PublishedConfig) -> None:
    """Record what float32 changes of the NLL by the authors' solver, on some rows."""
    integration = rk4(config.own_steps)
    single = flow.log_prob(x, integration=integration).double().mean()
    with measured.in_float64(flow):
        double = flow.log_prob(x.double(), integration=integration).mean()
    run.metric(
        f"nll_error[{OWN}, float32]",
        (single - double).abs().item(),
        f"{integration.protocol} in float64",
        len(x),
    )
