"""Train an OT-Flow, and report what others have not: the terms of its objective, and how straight its paths are."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.measure.clock import synchronize
from bench.metrics.transport import mmd, mmd_biased
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.training.settings import Training
from replications.ot_flow.method import Costs, clamp, costs, in_training, objective, rk4
from replications.tasks import training

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.execution.run import Run
    from replications.ot_flow.config import OTFlowConfig
    from replications.ot_flow.experiments.mnist.declaration import OTFlowMnistConfig
    from replications.ot_flow.experiments.toy.declaration import OTFlowToyConfig

OWN = "own solver"
"""Qualifier of what is measured with the paper's own test solver, not with the dopri5 that all flows share."""


def fit(
    run: Run,
    flow: Flow,
    config: OTFlowConfig,
    batch: Callable[[int], Tensor],
    settings: Training,
    validation: Tensor | None = None,
    protocol: str = "",
) -> None:
    """Train a flow in place by OT-Flow's objective, and record what that cost.

    Args:
        run: seeds and results.
        flow: on its device.
        config: objective and integration.
        batch: iteration -> data `(B, D)`.
        settings: of the optimizer.
        validation: data whose weighted objective chooses weights and rate.
        protocol: of what is recorded; by default iterations, batch and integration.
    """

    def validate() -> float:
        assert validation is not None
        return costs_of(flow, validation, config.validation_steps).weighted(config).item()

    told = f"{config.iterations} iterations of {config.batch}/{in_training(config).protocol}"
    training.fit(
        run,
        flow,
        lambda i: objective(flow, batch(i), config),
        settings,
        protocol or told,
        None if validation is None else validate,
        on_iteration=lambda i: clamp(flow, config.clamp),
    )


def precision(config: OTFlowToyConfig | OTFlowMnistConfig) -> torch.dtype:
    """Return the type of the training."""
    return torch.float64 if config.double else torch.float32


def in_periods(config: OTFlowToyConfig | OTFlowMnistConfig) -> Training:
    """Return how to train: Adam, its rate divided after each period, the best validated weights kept."""
    drops = tuple(round(i * config.iterations / config.periods) for i in range(1, config.periods))
    return Training(
        config.iterations,
        config.learning_rate,
        schedule="step",
        milestones=drops,
        gamma=1 / config.drop,
        validate_every=config.validate_every,
        patience=config.iterations,  # never ends early, but keeps the best weights
    )


@torch.no_grad()
def costs_of(flow: Flow, x: Tensor, steps: int, batch: int = 1000) -> Costs:
    """Return the terms of all points `(N, D)` by so many steps of RK4, `batch` points at a time."""
    parts = [costs(flow, part, rk4(steps)) for part in x.split(batch)]
    return Costs(*(torch.cat(terms) for terms in zip(*parts)))


def record_costs(run: Run, flow: Flow, x: Tensor, steps: int, batch: int = 1000, protocol: str = "") -> None:
    """Record L, C, R, straightness, and what they took, of test points by so many steps of RK4.

    Args:
        run: where to.
        flow: in evaluation mode.
        x: test points `(N, D)`.
        steps: of RK4.
        batch: points solved together.
        protocol: by default that of the integration.
    """
    flow.counter.reset()
    synchronize(run.device)
    start = time.perf_counter()
    terms = costs_of(flow, x, steps, batch)
    synchronize(run.device)
    seconds = time.perf_counter() - start
    told, n = protocol or rk4(steps).protocol, len(x)
    names = ("transport_cost", "nll", "hjb_residual", "straightness")
    for name, values in zip(names, terms, strict=True):
        values = values.double()
        run.metric(f"{name}[{OWN}]", values.mean().item(), told, n, values.std().item() / math.sqrt(n))
    run.metric(f"loglik_time[{OWN}]", seconds, f"{told}/{n} points", n)
    run.metric(f"nfe_test[{OWN}]", flow.counter.forward_evaluations / math.ceil(n / batch), told)


@torch.no_grad()
def record_generated(
    run: Run,
    flow: Flow,
    test: Tensor,
    integration: Integration,
    n: int,
    batch: int = 1000,
    protocol: str = "",
) -> None:
    """Record the inverse error on all test points `(N, D)`, and the MMD between n generated and the first n of them.

    The inverse error is the paper's: the mean Euclidean distance after there and back. So is the kernel of the squared
    MMD, exp(-|x - y|^2). The estimate is unbiased; `biased` has the terms k(x_i, x_i) = 1 too, as the authors' code
    where a sample holds more than 20,000 numbers: for rows far apart it is 1/n + 1/N, whatever is generated.
    """
    told = protocol or integration.solver.protocol
    back = torch.cat([flow.decode(flow.encode(part, integration), integration) for part in test.split(batch)])
    error = (back - test).double().norm(dim=1)
    run.metric(f"inversion_error[{OWN}]", error.mean().item(), f"{told}/Euclidean", len(test))
    n = min(n, len(test))
    z = flow.prior.sample(n, run.torch_generator("generated"), dtype=test.dtype, device=test.device)
    samples = torch.cat([flow.decode(part, integration) for part in z.split(batch)])
    pair = samples.double().cpu().numpy(), test[:n].double().cpu().numpy()
    value, se = mmd(*pair, sigma=math.sqrt(0.5))
    kernel = f"kernel exp(-|x - y|^2)/{n} points"
    run.metric(f"mmd[{OWN}]", value, f"{told}/squared, unbiased, {kernel}", n, se)
    run.metric(
        f"mmd[{OWN}, biased]", mmd_biased(*pair, sigma=math.sqrt(0.5)), f"{told}/squared, biased, {kernel}", n
    )
