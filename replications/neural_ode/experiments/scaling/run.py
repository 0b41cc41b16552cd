"""Experiment `neural_ode.scaling`: cost against solver steps; tolerance, error and cost (Figure 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bench.execution.run import Run
from bench.stats import fit_exponent, fit_line
from replications.flows.fields.mlp import MlpField
from replications.flows.ode.solve import Solver
from replications.neural_ode.experiments.scaling.declaration import ScalingConfig
from replications.neural_ode.experiments.scaling.measured import (
    PassCost,
    Rung,
    gradient_pass,
    ladder,
    pass_costs,
)
from replications.neural_ode.experiments.scaling.models import ResidualStack, SolutionMap, new_field

DeepModel = Callable[[int], nn.Module]
"""Depth -> a model of so many solver steps or layers."""


def run(run: Run, config: ScalingConfig) -> None:
    """Measure the cost of a forward and backward pass at each depth; for an ODE, at each tolerance too."""
    state = torch.randn(config.batch, config.dim, generator=run.torch_generator("state")).to(run.device)
    if config.model == "resnet":
        record_costs(run, config, costs(run, config, state, residual_stack(run, config)), state)
        return
    field = drawn(run, config, "concat", "field")

    def by_steps(depth: int) -> SolutionMap:
        return SolutionMap(field, Solver("rk4", steps=depth), config.gradient)

    record_costs(run, config, costs(run, config, state, by_steps), state)
    rungs = ladder(
        field.double(),
        state.double(),
        config.tolerances,
        config.gradient,
        config.reference_tolerance,
        run.device,
        config.repeats,
    )
    record_ladder(run, config.tolerances, rungs)


def drawn(run: Run, config: ScalingConfig, time: str, stream: str) -> MlpField:
    """Return a field drawn from a stream, on the run's device."""
    generator = run.torch_generator(stream)
    return new_field(config.dim, config.hidden, config.gain, time, generator).to(run.device)


def residual_stack(run: Run, config: ScalingConfig) -> DeepModel:
    """Return depth -> a residual network whose first layers do not depend on the depth."""
    return lambda depth: ResidualStack([drawn(run, config, "none", f"layer/{i}") for i in range(depth)])


def costs(run: Run, config: ScalingConfig, state: Tensor, model: DeepModel) -> list[PassCost]:
    """Return the cost of a pass at every depth."""
    return pass_costs(
        [gradient_pass(model(depth), state) for depth in config.steps], run.device, config.repeats
    )


def record_costs(run: Run, config: ScalingConfig, found: Sequence[PassCost], state: Tensor) -> None:
    """Record memory and time against the depth, their growth by a step or layer, and their exponents."""
    depths, (memory, seconds) = config.steps, zip(*found, strict=True)
    protocol = f"forward-backward/rk4/depth-{depths[0]}-{depths[-1]}/batch-{len(state)}"
    slope = fit_line(depths, memory)
    run.metric("memory_slope", slope.slope, protocol, slope.n, slope.slope_se)
    state_bytes = state.numel() * state.element_size()
    run.metric("ratio[memory_slope/state_bytes]", slope.slope / state_bytes, protocol, slope.n)
    slope, timed = fit_line(depths, seconds), f"{protocol}/in turns"
    run.metric("time_slope", slope.slope, timed, slope.n, slope.slope_se)
    run.metric("peak_memory", memory[-1], protocol)
    run.metric("forward_backward_time", seconds[-1], timed, config.repeats)
    for key, values, label, how in (
        ("memory/depth", memory, "peak memory (bytes)", protocol),
        ("time/depth", seconds, "forward + backward (s)", timed),
    ):
        record_exponent(run, key, depths, values, how)
        run.curve(key, depths, values, "solver steps or layers", label)


def record_ladder(run: Run, tolerances: Sequence[float], rungs: Sequence[Rung]) -> None:
    """Record evaluations, errors and times down the tolerances, and the exponents fitted to them."""
    errors, gradient_errors, forward, backward, seconds = zip(*rungs, strict=True)
    protocol, n = f"dopri5/float64/tolerance-{tolerances[0]:g}-{tolerances[-1]:g}", len(rungs)
    run.metric("nfe_forward", sum(forward) / n, f"{protocol}/mean", n)
    run.metric("nfe_backward", sum(backward) / n, f"{protocol}/mean", n)
    run.metric("nfe_ratio", sum(backward) / sum(forward), f"{protocol}/ratio-of-means", n)
    smallest = f"dopri5/float64/tolerance-{tolerances[-1]:g}/relative"
    run.metric("final_error", errors[-1], smallest)
    run.metric("gradient_error", gradient_errors[-1], smallest)
    for key, x, y in (
        ("error/tolerance", tolerances, errors),
        ("gradient_error/tolerance", tolerances, gradient_errors),
        ("nfe_forward/tolerance", tolerances, forward),
        ("nfe_backward/tolerance", tolerances, backward),
        ("time/nfe", forward, seconds),
    ):
        run.curve(key, x, y, *reversed(key.split("/")))
    record_exponent(run, "error/tolerance", tolerances, errors, protocol)
    record_exponent(run, "time/nfe", forward, seconds, f"{protocol}/in turns")


def record_exponent(run: Run, key: str, x: Sequence[float], y: Sequence[float], protocol: str) -> None:
    """Record the p of the power law y ~ x^p that fits."""
    fit = fit_exponent(x, y)
    run.metric(f"scaling_exponent[{key}]", fit.slope, protocol, fit.n, fit.slope_se)
