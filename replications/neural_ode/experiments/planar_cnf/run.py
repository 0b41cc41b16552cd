"""Experiment `neural_ode.planar_cnf`: continuous planar flows against layers, Figures 4 and 5 (chen2018neural).

| quantity | metric | equation |
|---|---|---|
| free energy | `free_energy` | F = E_q[log q(x) + U(x)], mean over N points x of q |
| reverse KL divergence | `kl` | KL(q, p) = F + log Z for p = e^-U / Z, log Z by quadrature |
| test NLL | `nll` | -1/N sum_n log q(x_n), N points of the data |
| error of the total mass | `mass_error` | abs(integral of q - 1) |
| error of the inverse | `inversion_error` | 1/N sum_n abs(x_n - T^-1(T(x_n))), Euclidean |

Density matching draws z of the base and carries it to x: the flow is `Inverted`, and fast from base to data. Maximum
likelihood carries data to the base: the layers are fast that way, and their samples need a root for each layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.execution.run import Run
from replications.flows.density import evaluate
from replications.flows.density.flow import Flow
from replications.flows.training.clock import TrainingClock
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.neural_ode.experiments.planar_cnf.declaration import SHOWN_REACH, SHOWN_SIDE, PlanarConfig
from replications.neural_ode.experiments.planar_cnf.inverted import Inverted
from replications.neural_ode.experiments.planar_cnf.measured import density, excess, matched, midpoints
from replications.neural_ode.experiments.planar_cnf.model import build, integration_at
from replications.neural_ode.experiments.planar_cnf.targets import BasePoints, Points, is_energy
from replications.tasks.cost import Loss, step_memory
from replications.tasks.density2d.evaluation import fresh, mass_error
from replications.tasks.recording import (
    record_inversion,
    record_mean,
    record_solver_error,
    record_training,
)
from replications.tasks.splits import held_out, to_train
from replications.tasks.training import training_clock

REACH = 6.0
"""The total mass is integrated over [-REACH, REACH]^2."""
CHECKED = 1000
"""Points of the inverse and of the solver's error."""
BUILDER = "replications.neural_ode.experiments.planar_cnf.model:build"


def run(run: Run, config: PlanarConfig) -> None:
    """Train one flow on one target and measure how well it fits."""
    arguments = arguments_of(config)
    flow = build(**arguments, generator=run.torch_generator("init")).to(run.device)
    inverted = isinstance(flow, Inverted)
    points: Points = BasePoints(run, flow.prior, run.device) if inverted else fresh(run, config.target)
    clock = training_clock(run)
    loss = training_loss(flow, config, points, clock)
    counter = flow.counter if config.method == "cnf" else None
    log = train(run, flow, loss, settings(config), counter=counter, clock=clock)
    protocol = training_protocol(config)
    record_training(run, log, protocol)
    run.metric("parameters", sum(p.numel() for p in flow.parameters()), "trainable")
    run.metric("peak_memory", step_memory(loss, flow.parameters(), run.device), protocol)
    if isinstance(flow, Inverted):
        record_matching(run, flow, config, points)
        x = flow.sample(CHECKED, run.torch_generator("samples"))
    else:
        record_likelihood(run, flow, config, points)
        x = held_out(points.test(CHECKED))
    record_flow(run, flow, config, x)
    run.save_model(BUILDER, arguments, flow.state_dict())


def arguments_of(config: PlanarConfig) -> dict[str, Any]:
    """Return the arguments of the flow's builder; what matches an energy is fast from base to data."""
    fields = ("method", "units", "gate_hidden", "tolerance")
    return {name: getattr(config, name) for name in fields} | {"inverted": is_energy(config.target)}


def settings(config: PlanarConfig) -> Training:
    """Return the method's optimizer: Adam, or RMSprop with momentum."""
    if config.method == "cnf":
        return Training(config.cnf_iterations, config.cnf_learning_rate)
    return Training(config.nf_iterations, config.nf_learning_rate, "rmsprop", config.nf_momentum)


def training_loss(flow: Flow, config: PlanarConfig, points: Points, clock: TrainingClock) -> Loss:
    """Return iteration -> free energy, or mean of -log q, over its batch."""

    def value(x: Tensor) -> Tensor:
        return excess(flow, x, config.target) if isinstance(flow, Inverted) else -flow.log_prob(x)

    batch = clock.drawn(points.batch)
    return lambda iteration: value(to_train(batch(iteration, config.batch))).mean()


# -- recording --------------------------------------------------------------------------------------------------


def training_protocol(config: PlanarConfig) -> str:
    """Return what was trained for how long and by which solver."""
    objective = "free energy" if is_energy(config.target) else "nll"
    solver = f"/{integration_at(config.tolerance).protocol}" if config.method == "cnf" else ""
    return f"{objective}/{settings(config).iterations} iterations of {config.batch}{solver}"


def record_matching(run: Run, flow: Inverted, config: PlanarConfig, points: Points) -> None:
    """Measure and record free energy and KL divergence."""
    found = matched(flow, points.test(config.test_points), config.target)
    n = len(found.excess)
    record_mean(run, "free_energy", found.excess, f"free-energy/{n} points")
    record_mean(run, "kl", found.kl, f"reverse-kl/{n} points/log Z by quadrature")
    record_test_evaluations(run, config, found.nfe, n)


def record_likelihood(run: Run, flow: Flow, config: PlanarConfig, points: Points) -> None:
    """Measure and record the test NLL."""
    x = held_out(points.test(config.test_points))
    found = evaluate.likelihood(flow, x, integration_at(config.tolerance), batch=len(x))
    record_mean(run, "nll", -found.log_prob, f"nll/exact-trace or closed form/{found.n} points")
    record_test_evaluations(run, config, found.nfe, found.n)


def record_test_evaluations(run: Run, config: PlanarConfig, nfe: float, n: int) -> None:
    """Record a continuous flow's evaluations in its test."""
    if config.method == "cnf":
        run.metric("nfe_test", nfe, f"{integration_at(config.tolerance).protocol}/{n} points solved together")


def record_flow(run: Run, flow: Flow, config: PlanarConfig, x: Tensor) -> None:
    """Measure and record what must hold of any flow at points `(N, 2)`: inverse, mass, solver; keep its picture."""
    integration = integration_at(config.tolerance)
    record_inversion(run, evaluate.inversion_error(flow, x, integration), "data to base and back")
    axis = torch.linspace(-REACH, REACH, config.grid, dtype=torch.float64)
    with evaluate.in_float64(flow):
        error = mass_error(density(flow, axis), REACH)
    protocol = f"trapezoidal rule in float64/{config.grid}^2 points of [-{REACH:g}, {REACH:g}]^2"
    run.metric("mass_error", error, protocol)
    if config.method == "cnf":
        record_solver_error(run, evaluate.solver_error(flow, x, integration), integration)
    run.artifact("density", density(flow, midpoints(SHOWN_REACH, SHOWN_SIDE)).float())
