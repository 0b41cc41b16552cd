"""The theorems of the tutorial checked against closed forms: Liouville's volume law and the change of variables.

| symbol | code | equation |
|---|---|---|
| V(t) | `enclosed_area` | V(T) = V(0) exp(T div f) where div f is constant (Liouville) |
| log det | `flow_jacobian` | log det dx(T)/dx(0) = int_0^T div f(t, x(t)) dt, any field |
| log p_T | `logp` | log p_T(x(T)) = log p_0(x(0)) - int_0^T div f(t, x(t)) dt (chen2018neural, equation 8) |

All in float64, dopri5 with rtol = atol down a ladder of tolerances.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from replications.blog.experiments.theory import known_flows as flows
from replications.blog.experiments.theory.picard import run_picard
from replications.blog.experiments.theory.sign_flip import run_sign_flip
from replications.flows.density.priors import StandardNormal

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.blog.experiments.theory.declaration import Theory


def run(run: Run, config: Theory) -> None:
    """Run the part of the theory that the variant names."""
    parts: dict[str, Callable[[Run, Theory], None]] = {
        "picard": run_picard,
        "liouville": run_liouville,
        "density": run_density,
        "sign_flip": run_sign_flip,
    }
    parts[config.part](run, config)


def _ladder(
    run: Run, config: Theory, name: str, qualifier: str, protocol: str, error: Callable[[float], float]
) -> None:
    """Record `error(tolerance)` down the ladder: one metric a tolerance, and the curve."""
    errors = [error(tolerance) for tolerance in config.tolerances]
    for tolerance, value in zip(config.tolerances, errors):
        run.metric(f"{name}[{qualifier}, {tolerance:g}]", value, f"{protocol}/dopri5-{tolerance:g}")
    run.curve(f"{name}[{qualifier}]", config.tolerances, errors, "rtol = atol", name)


# -- Liouville --------------------------------------------------------------------------------------------------


def run_liouville(run: Run, config: Theory) -> None:
    """Measure transported areas against exp(T div f), and log-determinants against the integrated divergence."""
    generator = run.torch_generator("flows")
    a = 0.5 * torch.randn(2, 2, generator=generator, dtype=torch.float64)
    centre = 2 * torch.rand(2, generator=generator, dtype=torch.float64) - 1
    boundary = flows.disc_boundary(centre, 0.5, config.boundary_points)
    for flow in (flows.linear(a), flows.pendulum(0.0), flows.pendulum(0.5)):
        _areas(run, config, flow, boundary)
    points = torch.randn(config.sample, 2, generator=generator, dtype=torch.float64)
    _determinants(run, config, flows.network(2, generator), points)


def _areas(run: Run, config: Theory, flow: flows.KnownFlow, boundary: Tensor) -> None:
    rate = float(flow.divergence(torch.zeros(()), boundary)[0])  # constant for these flows
    before, factor = flows.enclosed_area(boundary), math.exp(rate * config.horizon)

    def error(tolerance: float) -> float:
        after, _ = flows.transport(flow, boundary, 0.0, config.horizon, tolerance)
        return abs(float(flows.enclosed_area(after) / before) / factor - 1)

    _ladder(run, config, "volume_error", flow.name, f"area/fourier-{len(boundary)}", error)
    for share in (0.0, 0.5, 1.0):
        t = share * config.horizon
        image = flows.transport(flow, boundary, 0.0, t, config.tolerances[-1])[0] if t else boundary
        run.curve(f"boundary[{flow.name}, t={t:g}]", image[:, 0], image[:, 1], "q", "p")


def _determinants(run: Run, config: Theory, flow: flows.KnownFlow, points: Tensor) -> None:
    def error(tolerance: float) -> float:
        jacobian = flows.flow_jacobian(flow, points, config.horizon, tolerance)
        _, expansion = flows.transport(flow, points, 0.0, config.horizon, tolerance)
        return float((torch.linalg.det(jacobian) / expansion.exp() - 1).abs().max())

    protocol = f"autograd determinant against integrated divergence/largest of {len(points)}"
    _ladder(run, config, "volume_error", flow.name, protocol, error)


# -- change of variables ----------------------------------------------------------------------------------------


def run_density(run: Run, config: Theory) -> None:
    """Measure transported log-densities against closed forms, and the total mass of transported densities."""
    generator = run.torch_generator("flows")
    a = 0.5 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
    propagator = torch.linalg.matrix_exp(a * config.horizon)
    gaussian = torch.distributions.MultivariateNormal(
        torch.zeros(3, dtype=torch.float64), propagator @ propagator.T
    )
    _pointwise(run, config, flows.linear(a), 3, gaussian.log_prob, generator)
    tanh = flows.hyperbolic()
    _pointwise(run, config, tanh, 1, lambda y: tanh_log_density(y, config.horizon), generator)
    for flow in (tanh, flows.network(1, generator)):
        _total_mass(run, config, flow)


def tanh_log_density(y: Tensor, horizon: float) -> Tensor:
    """Return the log-density `(B,)` of y = x(T) `(B, 1)` where x' = tanh x and x(0) ~ N(0, 1).

    sinh x(0) = e^-T sinh y, hence dx(0)/dy = e^-T cosh y / cosh x(0).
    """
    x = torch.asinh(math.exp(-horizon) * torch.sinh(y))
    slope = math.exp(-horizon) * torch.cosh(y) / torch.cosh(x)
    return StandardNormal(1).log_prob(x) + slope[:, 0].log()


def log_density(flow: flows.KnownFlow, y: Tensor, horizon: float, tolerance: float) -> Tensor:
    """Return log p_T(y) `(B,)` of the standard normal carried along a flow: back to t = 0, then the prior."""
    x, minus_expansion = flows.transport(flow, y, horizon, 0.0, tolerance)
    return StandardNormal(y.shape[1]).log_prob(x) + minus_expansion


def _pointwise(
    run: Run,
    config: Theory,
    flow: flows.KnownFlow,
    dim: int,
    exact: Callable[[Tensor], Tensor],
    generator: torch.Generator,
) -> None:
    x = StandardNormal(dim).sample(config.sample, generator, torch.float64)

    def error(tolerance: float) -> float:
        y, expansion = flows.transport(flow, x, 0.0, config.horizon, tolerance)
        logp = StandardNormal(dim).log_prob(x) - expansion
        return float((logp - exact(y)).abs().max())

    _ladder(run, config, "density_error", flow.name, f"largest of {config.sample} points", error)


def _total_mass(run: Run, config: Theory, flow: flows.KnownFlow) -> None:
    y = torch.linspace(-12, 12, 481, dtype=torch.float64)[:, None]
    spacing = float(y[1, 0] - y[0, 0])

    def error(tolerance: float) -> float:
        density = log_density(flow, y, config.horizon, tolerance).exp()
        return abs(float(density.sum()) * spacing - 1)  # trapezoidal rule; the ends are zero

    _ladder(run, config, "volume_error", f"mass: {flow.name}", "trapezoidal/481 points", error)
    shown = y[(y.abs() <= 5)[:, 0]]
    density = log_density(flow, shown, config.horizon, config.tolerances[-1]).exp()
    run.curve(f"density[{flow.name}]", shown[:, 0], density, "x", "p_T(x)")
    if flow.name == "tanh":
        exact = tanh_log_density(shown, config.horizon).exp()
        run.curve("density[tanh, closed form]", shown[:, 0], exact, "x", "p_T(x)")
