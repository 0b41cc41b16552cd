"""OT-Flow learns a two-dimensional density."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from replications.flows.density.cnf import CNF
from replications.flows.ode.solve import Solver, trajectory
from replications.ot_flow.measured import fit, in_periods, precision, record_costs
from replications.ot_flow.method import build, rk4
from replications.tasks.density2d.evaluation import evaluate, fresh
from replications.tasks.splits import held_out

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.ot_flow.experiments.toy.declaration import OTFlowToyConfig

PATHS = 24
"""Paths drawn in the picture."""


def run(run: Run, config: OTFlowToyConfig) -> None:
    """Train; then measure the terms of the objective, and all that is measured of any flow on points."""
    flow = trained(run, config)
    x = held_out(fresh(run, config.data).test(config.test_points)).to(precision(config))
    record_costs(run, flow, x, config.own_steps)
    flow.float()
    evaluate(run, flow, config, rk4(config.steps))
    _paths(run, flow, x[:PATHS].float(), config.path_times)


def trained(run: Run, config: OTFlowToyConfig) -> CNF:
    """Return the trained flow; its cost is recorded, and the model kept in float32."""
    arguments: dict[str, Any] = {"dim": 2, "width": config.width, "layers": config.layers}
    dtype = precision(config)
    flow = build(**arguments, generator=run.torch_generator("field")).to(run.device, dtype)

    data = fresh(run, config.data)

    def batch(iteration: int) -> Tensor:
        return data.batch(iteration // config.redrawn, config.batch).points.to(dtype)

    validation = data.validation(config.validation_points).points.to(dtype)
    fit(run, flow, config, batch, in_periods(config), validation)
    state = {name: value.float() for name, value in flow.state_dict().items()}
    run.save_model("replications.ot_flow.method:build", arguments, state)
    return flow


@torch.no_grad()
def _paths(run: Run, flow: CNF, x: Tensor, times: int) -> None:
    """Keep the paths of some points at so many times, `(paths, times, 2)`."""
    when = torch.linspace(0, 1, times, device=x.device)
    states = trajectory(flow.field, x, when, Solver("rk4", steps=8 * (times - 1)))
    run.artifact("paths", states.transpose(0, 1))
