"""The weights that OT-Flow's authors published, evaluated by our code: no training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.data import tabular, toy2d
from bench.errors import UserError
from bench.measure.clock import reader
from replications.flows.density import evaluate as measured
from replications.flows.density.cnf import CNF
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.ode.solver import Solver
from replications.ot_flow.experiments.published_weights import weights
from replications.ot_flow.measured import evaluated, generated, rounding_error
from replications.ot_flow.method import rk4
from replications.ot_flow.potential import GradientField
from replications.ot_flow.recording import NATIVE, record_costs, record_generated
from replications.tasks.density2d.evaluation import SAMPLES, fresh, record_mass
from replications.tasks.recording import record_checks, record_likelihood
from replications.tasks.splits import TestSet, first, held_out

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.ot_flow.experiments.published_weights.declaration import PublishedConfig

FRESH = 10_000
"""Points of a 2-D set where all are asked for."""
TEST = Integration(Solver("dopri5", 1e-5, 1e-5))


def run(run: Run, config: PublishedConfig) -> None:
    """Measure L, C and R by the authors' solver, then by dopri5, and what must hold of any invertible density."""
    phi = weights.potential(weights.published(config.weights)).float()
    test = rows(run, config)
    x = held_out(test)
    if x.shape[1] != phi.dim:
        raise UserError(
            f"weights {config.weights!r} are for rows of {phi.dim} numbers, those of {config.data} have {x.shape[1]}"
        )
    flow, own = CNF(GradientField(phi), StandardNormal(phi.dim)).to(run.device), rk4(config.own_steps)
    run.metric("parameters", sum(p.numel() for p in flow.parameters()), "published weights")
    record_costs(run, evaluated(flow, x, config.own_steps, clock=reader(run.device)), own.protocol)
    draws = run.torch_generator("generated")
    record_generated(run, generated(flow, x, own, config.generated, draws), own.solver.protocol)
    record_likelihood(run, measured.likelihood(flow, x, TEST, clock=reader(run.device)), TEST)
    few = held_out(first(test, config.checked))
    record_checks(run, flow, few, TEST)
    error = rounding_error(flow, few, own).mean().abs().item()
    run.metric(f"nll_error[{NATIVE}, float32]", error, f"{own.protocol} in float64", len(few))
    if phi.dim == 2:
        record_mass(run, flow, TEST, config)
        run.artifact("samples", flow.sample(SAMPLES, run.torch_generator("samples"), TEST))


def rows(run: Run, config: PublishedConfig) -> TestSet:
    """Return the rows `(N, D)` of the config in float32; none is among those that the authors trained on."""
    if config.data in toy2d.names():
        return fresh(run, config.data).test(config.rows or FRESH)
    data = tabular.load(config.data)
    # The held-out set trains on most of the published validation rows; together they are all of them.
    whole = {"test": data.test, "validation": np.concatenate([data.train, data.validation])}
    x = torch.tensor(whole[config.split], dtype=torch.float32, device=run.device)
    return first(TestSet(x), config.rows)
