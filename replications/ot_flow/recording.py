"""Where what is measured of OT-Flow alone gets its metric name and its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from replications.flows.density.evaluate import Likelihood
from replications.ot_flow.measured import Evaluated, Generated
from replications.tasks.recording import record_inversion, record_mean

if TYPE_CHECKING:
    from bench.execution.run import Run

NATIVE = "own solver"
"""Qualifier of what is measured with the solver of the method's own paper, not with the dopri5 that all flows share."""


def record_own_likelihood(run: Run, found: Likelihood, protocol: str) -> None:
    """Record the likelihood of test points by the method's own solver, and what it took."""
    run.metric(f"nll[{NATIVE}]", found.nll, protocol, found.n, found.se)
    run.metric(f"loglik_time[{NATIVE}]", found.seconds, f"{protocol}/{found.n} points/warm", found.n)
    run.metric(f"nfe_test[{NATIVE}]", found.nfe, protocol)


def record_costs(run: Run, found: Evaluated, protocol: str) -> None:
    """Record the means of L, C, R and the straightness over test points, and what they took."""
    record_own_likelihood(run, found.likelihood, protocol)
    terms = found.costs
    record_mean(run, f"transport_cost[{NATIVE}]", terms.L, protocol)
    record_mean(run, f"hjb_residual[{NATIVE}]", terms.R, protocol)
    record_mean(run, f"straightness[{NATIVE}]", terms.straightness, protocol)


def record_generated(run: Run, found: Generated, protocol: str) -> None:
    """Record the mean error of the inverse over all test points, and both estimates of the squared MMD."""
    record_inversion(run, found.inversion, protocol, NATIVE)
    n = len(found.samples)
    kernel = f"kernel exp(-|x - y|^2)/{n} points"
    run.metric(f"mmd[{NATIVE}]", found.mmd, f"{protocol}/squared, unbiased, {kernel}", n, found.se)
    run.metric(f"mmd[{NATIVE}, biased]", found.biased, f"{protocol}/squared, biased, {kernel}", n)
