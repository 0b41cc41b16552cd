"""OT-Flow learns a two-dimensional density."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.measure.clock import reader
from replications.flows.density.cnf import CNF
from replications.flows.ode.solve import trajectory
from replications.flows.ode.solver import Solver
from replications.ot_flow.measured import evaluated
from replications.ot_flow.method import BUILDER, build, rk4
from replications.ot_flow.recording import record_costs
from replications.ot_flow.training import fit, in_periods, precision
from replications.tasks.density2d.evaluation import evaluate, fresh
from replications.tasks.method import in_test
from replications.tasks.splits import Fresh, held_out

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.ot_flow.experiments.toy.declaration import OTFlowToyConfig

PATHS = 24
"""Paths drawn in the picture."""
STEPS = 8
"""RK4 steps between two times of a path."""


def run(run: Run, config: OTFlowToyConfig) -> None:
    """Train; then measure the terms of the objective, and all that is measured of any flow on points."""
    data = fresh(run, config.data, precision(config))
    flow = trained(run, data, config)
    x = held_out(data.test(config.test_points))
    terms = evaluated(flow, x, config.own_steps, clock=reader(run.device))
    record_costs(run, terms, rk4(config.own_steps).protocol)
    flow.float()
    evaluate(run, flow, config, in_test(config), rk4(config.steps))
    run.artifact("paths", paths(flow, x[:PATHS].float(), config.path_times))


def trained(run: Run, data: Fresh, config: OTFlowToyConfig) -> CNF:
    """Return the trained flow; its cost is recorded, and the model kept in float32."""
    arguments: dict[str, Any] = {"dim": 2, "width": config.width, "layers": config.layers}
    flow = build(**arguments, generator=run.torch_generator("field")).to(run.device, precision(config))

    def batch(iteration: int) -> Tensor:
        return data.batch(iteration // config.redrawn, config.batch).points

    fit(run, flow, config, batch, in_periods(config), data.validation(config.validation_points))
    run.save_model(BUILDER, arguments, {name: value.float() for name, value in flow.state_dict().items()})
    return flow


@torch.no_grad()
def paths(flow: CNF, x: Tensor, times: int) -> Tensor:
    """Return where points `(N, 2)` are at equally spaced times from data to base, `(N, times, 2)`."""
    when = torch.linspace(0, 1, times, device=x.device)
    states = trajectory(flow.field, x, when, Solver("rk4", steps=STEPS * (times - 1)))
    return states.transpose(0, 1)
