"""Experiment `steer.stiff`: a network learns a stiff equation (ghosh2020steer).

| symbol | code | shape | equation |
|---|---|---|---|
| r | `config.stiffness` | | y' = -r y + 3 r - 2 r e^-t, y(0) = 0 |
| y(t) | `exact` | `(T,)` | 3 - 2 r/(r - 1) e^-t + (2 r/(r - 1) - 3) e^(-r t) |
| f | `StiffField` | `(B, 1)` | dy/dt = f(t, y) |
| t_i, D | `times`, `interval` | `(T,)` | training times, t_{i+1} - t_i |
| b | `config.spread` | | a training solve is U(D - b, D + b) or N(D, b^2) long |
| loss | `segment_loss` | scalar | mean over segments of abs(y from y(t_i) - y(t_{i+1})) |

As in the authors' code, the target of a solve with a random end is y at the time that was not made random, one end is
drawn for a whole batch, and a normal end may lie before the start: such a solve runs backward. As there, too, every
training solve starts at t = 0, whatever the time of its segment: the network, which is tested up to t = 25, sees no t
above 2 D in training (with normal ends, hardly any above 4 D). `own_times` gives each segment its own. Departures: the
truth is the closed form and not a solve, and the loss leaves out the start of the segments, whose error is zero there
and halves the mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver, solve, trajectory
from replications.flows.training.log import Log
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.tasks.recording import record_training
from replications.tasks.training import training_clock

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.steer.experiments.stiff.declaration import StiffConfig


class StiffField(nn.Module):
    """A network of (t, y) with two hidden layers, tanh; weights N(0, std^2), biases zero.

    Args:
        units: of each hidden layer.
        std: of the initial weights.
        generator: draws them.
    """

    def __init__(self, units: int, std: float, generator: torch.Generator) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2, units), nn.Tanh(), nn.Linear(units, units), nn.Tanh(), nn.Linear(units, 1)
        )
        with torch.no_grad():
            for name, parameter in self.net.named_parameters():
                if name.endswith("weight"):
                    parameter.normal_(0, std, generator=generator)
                else:
                    parameter.zero_()

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return f(t, y) `(B, 1)` at y `(B, 1)` and t, a scalar or `(B, 1)`."""
        rate: Tensor = self.net(torch.cat((t.to(y).expand_as(y), y), 1))
        return rate


class Shifted(nn.Module):
    """The field t, y -> f(t + s, y) with a start s `(B, 1)` of each state."""

    def __init__(self, field: nn.Module, starts: Tensor) -> None:
        super().__init__()
        self.field, self.starts = field, starts

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return `(B, 1)`."""
        rate: Tensor = self.field(t.to(y) + self.starts, y)
        return rate


def exact(t: Tensor, r: float) -> Tensor:
    """Return the solution at times of any shape, in float64 (see the table of this module)."""
    t, c = t.double(), 2 * r / (r - 1)
    return 3 - c * torch.exp(-t) + (c - 3) * torch.exp(-r * t)


def build(units: int, std: float = 0.1, generator: torch.Generator | None = None) -> StiffField:
    """Return an untrained network; without a generator its parameters will be loaded."""
    return StiffField(units, std, generator or torch.Generator().manual_seed(0))


def run(run: Run, config: StiffConfig) -> None:
    """Train on short segments, testing the whole solution on the way; then record errors and cost."""
    field = build(config.units, config.weight_std, run.torch_generator("field")).to(run.device)
    counter = Counter()
    times = torch.linspace(0, config.train_end, config.points, dtype=torch.float64)
    test_times = torch.linspace(0, config.test_end, config.points, dtype=torch.float64)
    truth = exact(times, config.stiffness).float()[:, None].to(run.device)

    clock = training_clock(run)

    @clock.drawn
    def drawn(iteration: int) -> tuple[Tensor, float]:
        generator = run.torch_generator(f"batch/{iteration}")
        starts = torch.randperm(config.points - 2, generator=generator)[: config.batch]
        return starts, draw_length(float(times[1]), config, generator)

    def loss(iteration: int) -> Tensor:
        return segment_loss(field, times, truth, *drawn(iteration), config, counter)

    def error() -> float:
        return (predict(field, test_times, config) - exact(test_times, config.stiffness)).abs().mean().item()

    settings = Training(
        config.iterations, config.learning_rate, optimizer="rmsprop", validate_every=config.test_every
    )
    log = train(run, field, loss, settings, validate=error, counter=counter, clock=clock)
    record(run, field, log, test_times, config)
    arguments = {"units": config.units, "std": config.weight_std}
    run.save_model("replications.steer.experiments.stiff.run:build", arguments, field.state_dict())


def draw_length(interval: float, config: StiffConfig, generator: torch.Generator) -> float:
    """Return how far a training solve goes: the interval, or a random length about it."""
    if config.end == "fixed":
        return interval
    draw = torch.rand if config.end == "uniform" else torch.randn
    u = draw((), generator=generator, dtype=torch.float64).item()
    return interval + config.spread * (2 * u - 1 if config.end == "uniform" else u)


def segment_loss(
    field: nn.Module,
    times: Tensor,
    truth: Tensor,
    starts: Tensor,
    length: float,
    config: StiffConfig,
    counter: Counter,
) -> Tensor:
    """Return the mean absolute difference to the truth at the next times.

    Args:
        field: f.
        times: training times `(T,)`.
        truth: y there, `(T, 1)`.
        starts: indices of the segments' starts, `(B,)`.
        length: of every solve; its target is y at the next time whatever it is.
        config: tolerances, and whether segments have their own times.
        counter: of the evaluations.
    """
    if config.own_times:
        field = Shifted(field, times[starts, None].to(truth))
    solver = Solver(rtol=config.rtol, atol=config.atol)
    starts = starts.to(truth.device)
    end = solve(field, truth[starts], 0.0, length, solver, counter=counter)
    return (end - truth[starts + 1]).abs().mean()


@torch.no_grad()
def predict(field: nn.Module, times: Tensor, config: StiffConfig, counter: Counter | None = None) -> Tensor:
    """Return the network's solution from y(0) = 0 at the times `(T,)`, in float64 on the CPU."""
    start = torch.zeros(1, 1, device=next(field.parameters()).device)
    solver = Solver(rtol=config.rtol, atol=config.atol, step_to_end=False)
    return trajectory(field, start, times, solver, counter)[:, 0, 0].double().cpu()


def record(run: Run, field: StiffField, log: Log, times: Tensor, config: StiffConfig) -> None:
    """Record errors on the test interval, evaluations and times."""
    counter = Counter()
    found, truth = predict(field, times, config, counter), exact(times, config.stiffness)
    tests = [error for _, error in log.validations]
    last = max(1, len(tests) // 10)
    protocol = f"{len(times)} times of [0, {config.test_end:g}]/{Solver(rtol=config.rtol, atol=config.atol).protocol}"
    run.metric("mean_error", tests[-1], f"{protocol}/last iteration")
    run.metric(
        "mean_error[last tenth]", sum(tests[-last:]) / last, f"{protocol}/mean of the last tenth of the tests"
    )
    run.metric("mean_error[best]", min(tests), f"{protocol}/lowest of the tests")
    run.metric(
        "mean_error[y = 3]", (truth - 3).abs().mean().item(), f"{protocol}/the limit itself, for comparison"
    )
    run.metric("nfe_test", counter.forward_evaluations, protocol)
    run.metric(
        "ratio[df/dy: network/equation]",
        slope(field, times, config),
        f"mean of |df/dy| / r on y(t), {protocol}",
    )
    run.metric("parameters", sum(p.numel() for p in field.parameters()), "trainable")
    record_training(run, log, f"{config.iterations} iterations of {config.batch}")
    run.curve("solution[learned]", times.tolist(), found.tolist(), "t", "y")
    run.curve("solution[true]", times.tolist(), truth.tolist(), "t", "y")


def slope(field: StiffField, times: Tensor, config: StiffConfig) -> float:
    """Return the mean of abs(df/dy) / r on the true solution: 1 for a network as stiff as the equation."""
    t, y = (x[:, None].to(next(field.parameters())) for x in (times, exact(times, config.stiffness)))
    y.requires_grad_()
    (df_dy,) = torch.autograd.grad(field(t, y).sum(), y)
    return df_dy.abs().mean().item() / config.stiffness
