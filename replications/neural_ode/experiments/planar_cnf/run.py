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

from bench.data import energies2d
from bench.execution.run import Run
from replications.flows.density import evaluate as measured
from replications.flows.density.cnf import CNF
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.ode.solve import Solver
from replications.flows.training.log import Log
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.neural_ode.experiments.planar_cnf.declaration import SHOWN_REACH, SHOWN_SIDE, PlanarConfig
from replications.neural_ode.experiments.planar_cnf.inverted import Inverted
from replications.neural_ode.planar import PlanarField, PlanarLayers
from replications.tasks.cost import step_memory
from replications.tasks.density2d.evaluation import fresh, mass_error
from replications.tasks.recording import (
    record_inversion,
    record_mean,
    record_solver_error,
    record_training,
)
from replications.tasks.splits import held_out

REACH = 6.0
"""The total mass is integrated over [-REACH, REACH]^2."""
CHUNK = 2048
"""Points of a grid solved together."""
CHECKED = 1000
"""Points of the inverse and of the solver's error."""


def run(run: Run, config: PlanarConfig) -> None:
    """Train one flow on one target and measure how well it fits."""
    task = Matching(run, config) if config.target in energies2d.names() else Likelihood(run, config)
    counter = task.flow.counter if config.method == "cnf" else None
    log = train(run, task.flow, task.loss, settings(config), counter=counter)
    record_cost(task, log)
    task.record_fit()
    record_flow(task)
    run.save_model(
        "replications.neural_ode.experiments.planar_cnf.run:build", task.arguments, task.flow.state_dict()
    )


def settings(config: PlanarConfig) -> Training:
    """Return the method's optimizer: Adam, or RMSprop with momentum."""
    if config.method == "cnf":
        return Training(config.cnf_iterations, config.cnf_learning_rate)
    return Training(config.nf_iterations, config.nf_learning_rate, "rmsprop", config.nf_momentum)


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


class PlanarTask:
    """A flow and what it is trained on."""

    inverted: bool

    def __init__(self, run: Run, config: PlanarConfig) -> None:
        self.run, self.config = run, config
        fields = ("method", "units", "gate_hidden", "tolerance")
        self.arguments: dict[str, Any] = {name: getattr(config, name) for name in fields}
        self.arguments["inverted"] = self.inverted
        self.flow = build(**self.arguments, generator=run.torch_generator("init")).to(run.device)


class Matching(PlanarTask):
    """Density matching: the free energy is made small."""

    objective, inverted = "free energy", True

    def excess(self, n: int, stream: str) -> Tensor:
        """Return log q(x) + U(x) `(N,)` of N points x of q; their mean estimates the free energy."""
        assert isinstance(self.flow, Inverted)
        z = self.flow.prior.sample(
            n, self.run.torch_generator(stream), dtype=torch.float32, device=self.run.device
        )
        path = self.flow.flow.path(z)
        energy: Tensor = energies2d.energy(self.config.target, path.z, torch)
        return self.flow.prior.log_prob(z) - path.delta + energy

    def loss(self, iteration: int) -> Tensor:
        """Return the free energy over a batch."""
        return self.excess(self.config.batch, f"batch/{iteration}").mean()

    def points(self, n: int) -> Tensor:
        """Return n points `(n, 2)` of the flow."""
        return self.flow.sample(n, self.run.torch_generator("samples"))

    @torch.no_grad()
    def record_fit(self) -> None:
        """Record free energy and KL divergence."""
        self.flow.counter.reset()
        excess = self.excess(self.config.test_points, "test").double()
        n, log_z = len(excess), energies2d.log_partition(self.config.target)
        record_mean(self.run, "free_energy", excess, f"free-energy/{n} points")
        record_mean(self.run, "kl", excess + log_z, f"reverse-kl/{n} points/log Z by quadrature")
        record_test_evaluations(self, n)


class Likelihood(PlanarTask):
    """Maximum likelihood: fresh points of the data in every batch."""

    objective, inverted = "nll", False

    def loss(self, iteration: int) -> Tensor:
        """Return the mean of -log q over a batch."""
        data = fresh(self.run, self.config.target)
        return -self.flow.log_prob(data.batch(iteration, self.config.batch).points).mean()

    def points(self, n: int) -> Tensor:
        """Return n test points `(n, 2)` of the data."""
        return held_out(fresh(self.run, self.config.target).test(n))

    @torch.no_grad()
    def record_fit(self) -> None:
        """Record the test NLL."""
        self.flow.counter.reset()
        nll = -self.flow.log_prob(self.points(self.config.test_points)).double()
        record_mean(self.run, "nll", nll, f"nll/exact-trace or closed form/{len(nll)} points")
        record_test_evaluations(self, len(nll))


def record_cost(task: Matching | Likelihood, log: Log) -> None:
    """Record loss, size, time and memory of the training; for a continuous flow its evaluations."""
    run, config = task.run, task.config
    solver = f"/{integration_at(config.tolerance).protocol}" if config.method == "cnf" else ""
    protocol = f"{task.objective}/{len(log.losses)} iterations of {config.batch}{solver}"
    record_training(run, log, protocol)
    run.metric("parameters", sum(p.numel() for p in task.flow.parameters()), "trainable")
    run.metric("peak_memory", step_memory(task.loss, task.flow.parameters(), run.device), protocol)


def record_test_evaluations(task: PlanarTask, n: int) -> None:
    """Record a continuous flow's evaluations since the last reset."""
    if task.config.method == "cnf":
        protocol = f"{integration_at(task.config.tolerance).protocol}/{n} points solved together"
        task.run.metric("nfe_test", task.flow.counter.forward_evaluations, protocol)


def record_flow(task: Matching | Likelihood) -> None:
    """Record what must hold of any flow: inverse and total mass; a solver's error; the density's picture."""
    run, config, flow = task.run, task.config, task.flow
    x = task.points(CHECKED)
    integration = integration_at(config.tolerance)
    record_inversion(run, measured.inversion_error(flow, x, integration), "data to base and back")
    axis = torch.linspace(-REACH, REACH, config.grid, dtype=torch.float64)
    with measured.in_float64(flow):
        p = density(flow, axis, run.device).reshape(config.grid, config.grid)
    protocol = f"trapezoidal rule in float64/{config.grid}^2 points of [-{REACH:g}, {REACH:g}]^2"
    run.metric("mass_error", mass_error(p, REACH), protocol)
    if config.method == "cnf":
        record_solver_error(run, measured.solver_error(flow, x, integration), integration)
    cell = 2 * SHOWN_REACH / SHOWN_SIDE
    axis = (torch.arange(SHOWN_SIDE) + 0.5) * cell - SHOWN_REACH
    shown = density(flow, axis, run.device).reshape(SHOWN_SIDE, SHOWN_SIDE)
    run.artifact("density", shown.float())


@torch.no_grad()
def density(flow: Flow, axis: Tensor, device: str) -> Tensor:
    """Return q `(N * N,)` on the grid of an axis `(N,)`, first coordinate slowest."""
    grid = torch.cartesian_prod(axis, axis).to(device)
    return torch.cat([flow.log_prob(part).exp() for part in grid.split(CHUNK)]).cpu()
