"""Experiment 2 of the tutorial: FFJORD carries a normal density to a crescent.

| symbol | code | shape | equation |
|---|---|---|---|
| z, x | `z`, `path` | `(N, 2)` | base z ~ N(0, I) at t = T, data x at t = 0, dx/dt = f(t, x) between |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from replications.ffjord.method import BUILDER, METHOD, on_points
from replications.flows.density.cnf import CNF
from replications.flows.ode.solve import trajectory
from replications.tasks.density2d.evaluation import evaluate, fresh, trained
from replications.tasks.method import in_test
from replications.tasks.splits import held_out

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.tasks.density2d.declaration import Density2dConfig

TIMES = 21
"""Times at which a path is kept."""
PATHS = 150
"""Paths from the base to the data; the figure draws some of them as lines and all as points."""


def run(run: Run, config: Density2dConfig) -> None:
    """Train and measure as `ffjord.toy`; then follow points of the base to the crescent."""
    flow = trained(run, config, METHOD, BUILDER, on_points(config))
    evaluate(run, flow, config, in_test(config), METHOD.in_training(config))
    x = held_out(fresh(run, config.data).test(500, "shown"))
    run.artifact("data", x)
    follow(run, cast(CNF, flow), config)


@torch.no_grad()
def follow(run: Run, flow: CNF, config: Density2dConfig) -> None:
    """Keep the paths of points of the base, `(TIMES, PATHS, 2)`."""
    z = flow.prior.sample(PATHS, run.torch_generator("paths"), dtype=torch.float32, device=run.device)
    times = torch.linspace(flow.T, 0, TIMES, dtype=torch.float64)
    path = trajectory(flow.field, z, times, in_test(config).solver).double().cpu()
    run.artifact("paths", path.float())
