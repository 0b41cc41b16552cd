r"""Experiment `ffjord.trace`: cost, bias and variance of the divergence against the dimension (grathwohl2019ffjord, 3).

| symbol | code | shape | equation |
|---|---|---|---|
| J, A | `jacobian` | `(B, D, D)` | J = df/dx, A = (J + J^T)/2 |
| eps_k | `eps` | `(K, B, D)` | E eps eps^T = I, Rademacher or Gaussian |
| K | `probes` | | tr J ~ 1/K sum_k eps_k^T J eps_k |
| variance | `estimate_variance` | scalar | (2 \|A\|_F^2 or 2 (\|A\|_F^2 - sum_i A_ii^2)) / K, mean over states |
| p | `record_exponent` | | cost ~ D^p |

The methods and their floating point operations are those of `replications.tasks.trace.methods`. p is fitted
over the `FITTED` largest dimensions of a method, where the size and not the overhead of a call decides; that of the
operations over the largest of all, since they are counted and not measured. The methods are timed in turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.measure.clock import quotient, reader, take_turns
from bench.measure.memory import peak_memory
from bench.stats import fit_exponent
from replications.ffjord.experiments.trace import probes
from replications.flows.density.divergence import Divergence
from replications.flows.fields.mlp import MlpField
from replications.flows.fields.pushforward import push
from replications.tasks.trace.methods import TraceMethod, trace_methods
from replications.tasks.trace.variance import estimate_variance, jacobian

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.ffjord.experiments.trace.declaration import TraceConfig

FITTED = 4
KINDS = ("rademacher", "gaussian")


def run(run: Run, config: TraceConfig) -> None:
    """Measure cost and moments, or, for the study `probes`, solves and gradients of a trained flow."""
    if config.study == "probes":
        probes.run(run, config)
        return
    moments(run, config, costs(run, config))


def make_field(run: Run, config: TraceConfig, d: int) -> MlpField:
    """Return the network of a dimension, with its initial weights."""
    hidden = widths(config, d)[1:-1]
    return MlpField(d, hidden, run.torch_generator(f"field/{d}"), "concatsquash").to(run.device)


def widths(config: TraceConfig, d: int) -> tuple[int, ...]:
    """Return D, the hidden widths, D."""
    return (d, *(config.multiple * d or width for width in config.hidden), d)


# -- cost -------------------------------------------------------------------------------------------------------


@dataclass
class Series:
    """What a method costs in each dimension that it is measured in: seconds of every turn, and peak bytes."""

    dims: list[int] = field(default_factory=list)
    turns: list[list[float]] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    @property
    def seconds(self) -> list[float]:
        """The median time in each dimension."""
        return [statistics.median(turns) for turns in self.turns]


def costs(run: Run, config: TraceConfig) -> list[int]:
    """Record time, memory and operations of every method; return the dimensions of the exact trace."""
    every = trace_methods(len(config.hidden), config.probes)
    found = {name: Series() for name in every}
    one = f"hutchinson-{config.probes[0]}"
    weighed = ("exact", "loop", one)
    for i, d in enumerate(config.dims):
        affordable = {
            name: method
            for name, method in every.items()
            if method.flops(widths(config, d), config.batch) <= config.work
        }
        if not affordable:  # nor is the memory of the network's weights
            continue
        works = works_of(run, config, d, affordable)
        measure(found, d, works, config.repeats, run.device)
        for name in works.keys() & weighed:
            found[name].memory.append(weight(works[name], run.device))
        run.progress(i + 1, len(config.dims), f"cost at D = {d}")
    protocol = f"float32/batch {config.batch}/{named(config)}"
    timed = f"{protocol}/in turns"
    for name, series in found.items():
        record_series(run, name, series, protocol, timed)
        if name in weighed:
            record_exponent(run, f"{name}: memory", series.dims, series.memory, protocol)
        if name == one or not name.startswith("hutchinson"):
            record_exponent(run, f"{name}: time", series.dims, series.seconds, timed)
            flops = [every[name].flops(widths(config, d), config.batch) for d in config.dims]
            record_exponent(run, f"{name}: flops", config.dims, flops, f"counted/{protocol}")
    record_quotients(run, found, one, timed)
    seconds = [found[f"hutchinson-{k}"].seconds[len(found["exact"].dims) - 1] for k in config.probes]
    run.curve("time/K", config.probes, seconds, "K", "time (s)")
    return found["exact"].dims


def named(config: TraceConfig) -> str:
    """Return the network's name in a protocol."""
    layers = len(config.hidden)
    return f"{layers} layers of {config.multiple} D" if config.multiple else "-".join(map(str, config.hidden))


def works_of(
    run: Run, config: TraceConfig, d: int, methods: Mapping[str, TraceMethod]
) -> dict[str, Callable[[], object]]:
    """Return what each method does once, at states of dimension d, all with the same probes."""
    network, t = make_field(run, config, d), torch.full((), 0.5, device=run.device)
    x = torch.randn(config.batch, d, generator=run.torch_generator(f"x/{d}")).to(run.device)
    eps = Divergence("rademacher", max(config.probes)).draw(x, run.torch_generator(f"probes/{d}"))
    assert eps is not None  # an estimate draws
    return {name: partial(method.work, network, t, x, eps) for name, method in methods.items()}


@torch.no_grad()
def measure(
    found: Mapping[str, Series], d: int, works: Mapping[str, Callable[[], object]], turns: int, device: str
) -> None:
    """Append what the methods take in dimension d, timed in turns."""
    for name, seconds in take_turns(works, turns, reader(device), warmup=2).items():
        found[name].dims.append(d)
        found[name].turns.append(seconds)


@torch.no_grad()
def weight(work: Callable[[], object], device: str) -> int:
    """Return the peak memory of a method in bytes; it takes far longer than the time."""
    with peak_memory(device) as peak:
        work()
    return peak.bytes


def record_series(run: Run, name: str, series: Series, protocol: str, timed: str) -> None:
    """Record a method's cost in its largest dimension, and in all as curves."""
    run.curve(f"time/D[{name}]", series.dims, series.seconds, "D", "time (s)")
    run.metric(f"evaluation_time[{name}]", series.seconds[-1], f"{timed}/D = {series.dims[-1]}")
    if series.memory:
        run.curve(f"memory/D[{name}]", series.dims, series.memory, "D", "peak memory (bytes)")
        run.metric(f"peak_memory[{name}]", series.memory[-1], f"{protocol}/D = {series.dims[-1]}")


def record_exponent(run: Run, name: str, dims: Sequence[int], values: Sequence[float], protocol: str) -> None:
    """Record the exponent of D that fits the largest dimensions."""
    fit = fit_exponent(dims[-FITTED:], values[-FITTED:])
    fitted = f"{protocol}/D = {', '.join(map(str, dims[-FITTED:]))}"
    run.metric(f"scaling_exponent[{name}/D]", fit.slope, fitted, fit.n, fit.slope_se)


def record_quotients(run: Run, found: dict[str, Series], one: str, protocol: str) -> None:
    """Record times over others', `one` an estimate, in the exact trace's largest dimension, and their exponents."""
    dims = found["exact"].dims
    for name, unit in (
        ("exact", one),
        ("loop", "vjp"),
        (one, "field"),
        ("vjp", "field"),
        ("vjp, parameters", "field"),
    ):
        quotients = [quotient(*turns) for turns in zip(found[name].turns, found[unit].turns)][: len(dims)]
        run.metric(f"ratio[time: {name}/{unit}]", quotients[-1], f"{protocol}/D = {dims[-1]}")
        record_exponent(run, f"{name} over {unit}: time", dims, quotients, protocol)


# -- moments ----------------------------------------------------------------------------------------------------


def estimates(
    field: nn.Module, t: Tensor, x: Tensor, kind: str, n: int, generator: torch.Generator, chunk: int = 64
) -> Tensor:
    """Return n independent one-probe estimates of tr J for each state, `(n, B)`."""
    parts = []
    for start in range(0, n, chunk):
        eps = Divergence(kind, min(chunk, n - start)).draw(x, generator)
        assert eps is not None  # an estimate draws
        parts.append((eps * push(field, t, x, eps)[1]).sum(2))
    return torch.cat(parts)


def variance_of_means(values: Tensor, k: int) -> float:
    """Return the variance of means of k of the draws `(n, B)`, mean over states; k divides n."""
    return values.reshape(-1, k, values.shape[1]).mean(1).var(0).mean().item()


@torch.no_grad()
def moments(run: Run, config: TraceConfig, dims: Sequence[int]) -> None:
    """Record bias and variance of the estimates against the dimension, in float64."""
    variances: dict[str, list[float]] = {key: [] for kind in KINDS for key in (kind, f"{kind}, closed form")}
    t = torch.full((), 0.5, dtype=torch.float64, device=run.device)
    for i, d in enumerate(dims):
        field = make_field(run, config, d).double()
        x = torch.randn(config.states, d, generator=run.torch_generator(f"states/{d}"), dtype=t.dtype)
        x, drawn = x.to(run.device), {}
        j = jacobian(field, t, x)
        for kind in KINDS:
            drawn[kind] = estimates(field, t, x, kind, config.draws, run.torch_generator(f"{kind}/{d}"))
            variances[kind].append(variance_of_means(drawn[kind], 1))
            variances[f"{kind}, closed form"].append(estimate_variance(j, kind))
        run.progress(i + 1, len(dims), f"moments at D = {d}")
    protocol = f"float64/{config.states} states/{config.draws} draws/{named(config)}, initial weights"
    for key, values in variances.items():
        run.curve(f"variance/D[{key}]", dims, values, "D", "variance")
    for kind in KINDS:
        record_moments(run, kind, drawn[kind], j, config, f"{protocol}/D = {dims[-1]}")
        named_dims = f"closed form/{named(config)}, initial weights"
        record_exponent(run, f"variance: {kind}", dims, variances[f"{kind}, closed form"], named_dims)


def record_moments(
    run: Run, kind: str, values: Tensor, j: Tensor, config: TraceConfig, protocol: str
) -> None:
    """Record bias and variance of the draws `(n, B)` for Jacobians `(B, D, D)`, and the variance against K."""
    n = values.numel()
    bias = (values.mean(0) - j.diagonal(dim1=1, dim2=2).sum(1)).mean().item()
    se = (values.var(0).mean().item() / n) ** 0.5
    run.metric(f"trace_bias[{kind}]", bias, protocol, n, se)
    run.metric(f"ratio[bias/standard error: {kind}]", abs(bias) / se, protocol, n)
    variances = [variance_of_means(values, k) for k in config.probes]
    run.metric(f"trace_variance[{kind}]", variances[0], protocol, n)
    run.metric(f"ratio[variance/closed form: {kind}]", variances[0] / estimate_variance(j, kind), protocol, n)
    run.curve(f"variance/K[{kind}]", config.probes, variances, "K", "variance")
    fit = fit_exponent(config.probes, variances)
    run.metric(f"scaling_exponent[variance/K: {kind}]", fit.slope, protocol, fit.n, fit.slope_se)
