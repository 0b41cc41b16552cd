"""Experiment `ot_flow.trace`: the exact trace against an estimate by autograd (onken2021otflow, Figure 2).

As published, weights are the initial ones and states standard normal, at all three D. Time is one standard normal
number for the batch, where the published code draws one for each state. Nothing asks for the gradient by the
parameters.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch

from bench.measure.clock import reader
from bench.stats import fit_exponent
from replications.ot_flow.experiments.trace.measured import (
    BY_GRAM,
    EXACT,
    EXPECTED,
    Comparison,
    compare,
    operations,
    quotients,
    worth_in_vectors,
)
from replications.ot_flow.potential import GradientField, Potential

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.ot_flow.experiments.trace.declaration import OTFlowTraceConfig

Repeats = Sequence[Mapping[str, float]]
"""For each repeat a number of each method, by name."""


def run(run: Run, config: OTFlowTraceConfig) -> None:
    """Measure every method, with weights, states and vectors of its own in each repeat, every second backwards."""
    found = []
    for i in range(config.repeats):
        found.append(repeat(run, config, i))
        run.progress(i + 1, config.repeats)
    protocol = f"float32/batch {config.batch}/m = {config.width}/{config.layers} layers"
    protocol = f"{protocol}/initial weights, normal states/{config.repeats} repeats"
    record_times(run, config.numbers, [each.seconds for each in found], f"{protocol} forth and back")
    record_errors(run, config.numbers, [each.errors for each in found], protocol)
    record_operations(run, operations(config), f"counted/{protocol}")


def repeat(run: Run, config: OTFlowTraceConfig, i: int) -> Comparison:
    """Return one comparison of all methods."""
    phi = Potential(config.dim, config.width, config.layers, run.torch_generator(f"weights/{i}"))
    field = GradientField(phi).requires_grad_(False).to(run.device)
    draws = run.torch_generator(f"states/{i}")
    x = torch.randn(config.batch, config.dim, generator=draws).to(run.device)
    t = torch.randn((), generator=draws).to(run.device)
    vectors = partial(run.torch_generator, f"vectors/{i}")
    clock, backwards = reader(run.device), i % 2 == 1
    return compare(field, t, x, config.numbers, config.checked, vectors, clock, backwards)


def record_times(run: Run, numbers: Sequence[int], seconds: Repeats, protocol: str) -> None:
    """Record the median time of each method, and quotients over neighbouring repeats."""
    n = len(seconds)
    medians = {name: statistics.median(s[name] for s in seconds) for name in seconds[0]}
    for name, value in medians.items():
        run.metric(f"evaluation_time[{name}]", value, protocol, n)
    for pair, value in quotients(numbers, seconds).items():
        run.metric(f"ratio[time: {pair}]", value, protocol, n)
    for name, value in worth_in_vectors(numbers, seconds).items():
        run.metric(f"ratio[time: {name}/vector]", value, f"{protocol}/a vector takes its share of all D", n)
    record_series(run, "time", "time (s)", numbers, medians, protocol)


def record_errors(run: Run, numbers: Sequence[int], errors: Repeats, protocol: str) -> None:
    """Record the mean error of each method, and that of one vector over the expected one."""
    n, means = len(errors), {}
    for name in errors[0]:
        values = [e[name] for e in errors]
        means[name] = statistics.fmean(values)
        se = statistics.stdev(values) / n**0.5 if n > 1 else None
        run.metric(f"trace_error[{name}]", means[name], protocol, n, se)
    expected = [means[EXPECTED] / k**0.5 for k in numbers]
    one = f"hutchinson-{numbers[0]}"
    run.metric(f"ratio[error: {one}/expected]", means[one] / expected[0], protocol, n)
    record_series(run, "error", "relative error", numbers, means, protocol)
    run.curve("error/K[expected]", numbers, expected, "K", "relative error")


def record_operations(run: Run, counted: Mapping[str, int], protocol: str) -> None:
    """Record the operations of the exact methods over those of one vector."""
    for name in (EXACT, BY_GRAM):
        run.metric(
            f"ratio[operations: {name}/hutchinson-1]", counted[name] / counted["hutchinson-1"], protocol
        )


def record_series(
    run: Run, what: str, label: str, numbers: Sequence[int], values: Mapping[str, float], protocol: str
) -> None:
    """Record the estimate's time or error against K as a curve, and the exponent p of a fitted K^p."""
    y = [values[f"hutchinson-{k}"] for k in numbers]
    run.curve(f"{what}/K[hutchinson]", numbers, y, "K", label)
    fit = fit_exponent(numbers, y)
    run.metric(f"scaling_exponent[{what}/K: hutchinson]", fit.slope, protocol, fit.n, fit.slope_se)
