"""Experiment `neural_ode.scaling`: cost against solver steps; tolerance, error and cost (Figure 3).

| symbol | code | shape | equation |
|---|---|---|---|
| h(0) | `state` | `(B, D)` | initial state, N(0, I) |
| f(h, t, theta) | `MlpField` | `(B, D)` | dh/dt = f(h, t, theta) (2) |
| L | `depth` | | residual layers, or RK4 steps |
| L~ | `nfe` | | evaluations of f in one forward solve |
| loss | `mean_square` | scalar | mean of h(1)^2 |
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.execution.run import Run
from bench.measure.clock import time_repeats
from bench.measure.memory import peak_memory
from bench.stats import fit_exponent, fit_line
from replications.flows.fields.mlp import MlpField
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver, solve
from replications.neural_ode.experiments.scaling.declaration import ScalingConfig

Pass = Callable[[], None]


def run(run: Run, config: ScalingConfig) -> None:
    """Measure the cost of a forward and backward pass at each depth; for an ODE, at each tolerance too."""
    state = torch.randn(config.batch, config.dim, generator=run.torch_generator("state")).to(run.device)
    if config.model == "resnet":
        record_depth(run, config, lambda depth: gradient_pass(ResidualStack(depth, run, config), state))
        return
    field = new_field(run, config, "concat", "field")
    record_depth(run, config, lambda depth: fixed_pass(field, state, depth, config.gradient))
    Ladder(run, config, field.double(), state.double()).record()


def new_field(run: Run, config: ScalingConfig, time: str, stream: str) -> MlpField:
    """Return a field drawn from a stream, its parameters multiplied by the gain."""
    field = MlpField(config.dim, config.hidden, run.torch_generator(stream), time)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.mul_(config.gain)
    return field.to(run.device)


class ResidualStack(nn.Module):
    """A residual network, h_{l+1} = h_l + f_l(h_l) / L: one field a layer, with its own parameters."""

    def __init__(self, depth: int, run: Run, config: ScalingConfig) -> None:
        super().__init__()
        self.fields = nn.ModuleList(new_field(run, config, "none", f"layer/{i}") for i in range(depth))

    def forward(self, h: Tensor) -> Tensor:
        """Return h_L `(B, D)`."""
        for field in self.fields:
            h = h + field(torch.zeros(()), h) / len(self.fields)
        return h


def mean_square(h: Tensor) -> Tensor:
    """Return the loss, the mean of h^2."""
    return h.square().mean()


def gradient_pass(model: nn.Module, state: Tensor) -> Pass:
    """Return the work to measure: loss and gradient by every parameter and by the input."""

    def work() -> None:
        model.zero_grad()
        mean_square(model(state.detach().requires_grad_())).backward()

    return work


class SolutionMap(nn.Module):
    """The map h(0) -> h(1) of a field."""

    def __init__(
        self, field: nn.Module, solver: Solver, gradient: str, counter: Counter | None = None
    ) -> None:
        super().__init__()
        self.field, self.solver, self.gradient, self.counter = field, solver, gradient, counter

    def forward(self, h: Tensor) -> Tensor:
        """Return h(1) `(B, D)`."""
        return solve(self.field, h, 0.0, 1.0, self.solver, self.gradient, counter=self.counter)


def fixed_pass(field: nn.Module, state: Tensor, steps: int, gradient: str) -> Pass:
    """Return the work to measure for RK4 with a number of equal steps."""
    return gradient_pass(SolutionMap(field, Solver("rk4", steps=steps), gradient), state)


def record_depth(run: Run, config: ScalingConfig, make: Callable[[int], Pass]) -> None:
    """Record peak memory and time against the depth, with the fitted slopes and exponents."""
    memory, seconds = [], []
    for i, depth in enumerate(config.steps):
        work = make(depth)
        work()
        with peak_memory(run.device) as peak:
            work()
        memory.append(peak.bytes)
        seconds.append(time_repeats(work, device=run.device, repeats=config.repeats).median)
        run.progress(i + 1, len(config.steps), f"depth {depth}")
    protocol = f"forward-backward/rk4/depth-{config.steps[0]}-{config.steps[-1]}/batch-{config.batch}"
    slope = fit_line(config.steps, memory)
    run.metric("memory_slope", slope.slope, protocol, slope.n, slope.slope_se)
    state_bytes = config.batch * config.dim * torch.finfo(torch.float32).bits // 8
    run.metric("ratio[memory_slope/state_bytes]", slope.slope / state_bytes, protocol, slope.n)
    slope = fit_line(config.steps, seconds)
    run.metric("time_slope", slope.slope, protocol, slope.n, slope.slope_se)
    for key, values in (("memory/depth", memory), ("time/depth", seconds)):
        fit = fit_exponent(config.steps, values)
        run.metric(f"scaling_exponent[{key}]", fit.slope, protocol, fit.n, fit.slope_se)
    run.metric("peak_memory", memory[-1], protocol)
    run.metric("forward_backward_time", seconds[-1], protocol, config.repeats)
    run.curve("memory/depth", config.steps, memory, "solver steps or layers", "peak memory (bytes)")
    run.curve("time/depth", config.steps, seconds, "solver steps or layers", "forward + backward (s)")


class Ladder:
    """Solves with dopri5 at each tolerance, in float64, against one at a far smaller tolerance."""

    def __init__(self, run: Run, config: ScalingConfig, field: nn.Module, state: Tensor) -> None:
        self.run, self.config, self.state = run, config, state
        self.field, self.counter = field, Counter()
        self.exact, self.exact_gradient = self.differentiate(config.reference_tolerance, "backprop")

    def differentiate(self, tolerance: float, gradient: str) -> tuple[Tensor, Tensor]:
        """Return h(1) and the loss's gradient by all parameters and the input, flat; counts from zero."""
        self.counter.reset()
        self.field.zero_grad()
        state = self.state.detach().requires_grad_()
        end = self.flow(tolerance, gradient)(state)
        mean_square(end).backward()
        leaves = [state, *self.field.parameters()]
        return end.detach(), torch.cat([leaf.grad.flatten() for leaf in leaves if leaf.grad is not None])

    def flow(self, tolerance: float, gradient: str) -> SolutionMap:
        """Return the map of dopri5 at a tolerance."""
        return SolutionMap(
            self.field, Solver("dopri5", rtol=tolerance, atol=tolerance), gradient, self.counter
        )

    def record(self) -> None:
        """Record evaluations, errors, forward times, and the exponents fitted to them."""
        ladder = self.config.tolerances
        rows = [self.measure(tolerance) for tolerance in ladder]
        errors, gradient_errors, forward, backward, seconds = zip(*rows, strict=True)
        protocol = f"dopri5/float64/tolerance-{ladder[0]:g}-{ladder[-1]:g}"
        run, n = self.run, len(ladder)
        run.metric("nfe_forward", sum(forward) / n, f"{protocol}/mean", n)
        run.metric("nfe_backward", sum(backward) / n, f"{protocol}/mean", n)
        run.metric("nfe_ratio", sum(backward) / sum(forward), f"{protocol}/ratio-of-means", n)
        smallest = f"dopri5/float64/tolerance-{ladder[-1]:g}/relative"
        run.metric("final_error", errors[-1], smallest)
        run.metric("gradient_error", gradient_errors[-1], smallest)
        for key, x, y in (
            ("error/tolerance", ladder, errors),
            ("gradient_error/tolerance", ladder, gradient_errors),
            ("nfe_forward/tolerance", ladder, forward),
            ("nfe_backward/tolerance", ladder, backward),
            ("time/nfe", forward, seconds),
        ):
            run.curve(key, x, y, *reversed(key.split("/")))
        for key, fit in (
            ("error/tolerance", fit_exponent(ladder, errors)),
            ("time/nfe", fit_exponent(forward, seconds)),
        ):
            run.metric(f"scaling_exponent[{key}]", fit.slope, protocol, fit.n, fit.slope_se)

    def measure(self, tolerance: float) -> tuple[float, float, int, int, float]:
        """Return relative errors of h(1) and of the gradient, NFE forward and backward, forward time in s."""
        end, gradient = self.differentiate(tolerance, self.config.gradient)
        forward, backward = self.counter.forward_evaluations, self.counter.backward_evaluations
        flow = self.flow(tolerance, self.config.gradient)
        with torch.no_grad():
            timing = time_repeats(
                lambda: flow(self.state), device=self.run.device, repeats=self.config.repeats
            )
        errors = relative(end, self.exact), relative(gradient, self.exact_gradient)
        return *errors, forward, backward, timing.median


def relative(found: Tensor, exact: Tensor) -> float:
    """Return |found - exact| / |exact|, Euclidean norms over all entries."""
    return float((found - exact).norm() / exact.norm())
