"""Experiment 1 of the tutorial: a neural ODE learns the linear spiral y' = A y.

| symbol | code | shape | equation |
|---|---|---|---|
| A | `config.matrix` | `(2, 2)` | y' = A y, so y(t) = exp(A t) y(0) |
| f | `field` | `(B, 2)` | dz/dt = f(z), an MLP without time |
| loss | `segment_loss` | scalar | mean over segments and coordinates of (z(t + s) - y(t + s))^2 where z(t) = y(t) |

A training batch holds short segments of the observed trajectory, of length s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from replications.blog.linear import solution
from replications.flows.fields.mlp import MlpField
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver, solve, trajectory
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.tasks.recording import record_training
from replications.tasks.training import training_clock

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.blog.experiments.spiral.declaration import Spiral

Array = NDArray[np.float64]


def build(width: int) -> MlpField:
    """Return an untrained field; its parameters come from a `state_dict`."""
    return MlpField(2, (width, width), torch.Generator().manual_seed(0), time="none")


def run(run: Run, config: Spiral) -> None:
    """Train on segments of one trajectory, then compare whole trajectories and the field itself."""
    a = np.array(config.matrix).reshape(2, 2)
    times = np.linspace(0.0, config.horizon, config.observations)
    observed = torch.tensor(solution(a, config.start, times), dtype=torch.float32, device=run.device)
    field = MlpField(2, (config.width, config.width), run.torch_generator("field"), time="none").to(
        run.device
    )
    counter = Counter()
    solver = Solver("dopri5", rtol=config.rtol, atol=config.atol)
    step = float(times[1])

    clock = training_clock(run)

    @clock.drawn
    def starts(iteration: int) -> Tensor:
        generator = run.torch_generator(f"batch/{iteration}")
        drawn = torch.randint(len(times) - config.segment, (config.batch,), generator=generator)
        return drawn.to(run.device)

    def loss(iteration: int) -> Tensor:
        return segment_loss(field, observed, starts(iteration), step, config, solver, counter)

    settings = Training(config.iterations, config.learning_rate, schedule="cosine")
    log = train(run, field, loss, settings, counter=counter, clock=clock)
    record_training(run, log, f"{config.iterations} iterations/mse/dopri5-{config.rtol:g}", last=20)
    evaluate(run, config, field, a, times)
    run.save_model(
        "replications.blog.experiments.spiral.run:build", {"width": config.width}, field.state_dict()
    )


def segment_loss(
    field: nn.Module,
    observed: Tensor,
    starts: Tensor,
    step: float,
    config: Spiral,
    solver: Solver,
    counter: Counter | None = None,
) -> Tensor:
    """Return the mean squared error at the ends of the segments that begin at the observations `starts` `(B,)`."""
    horizon = config.segment * step
    end = solve(field, observed[starts], 0.0, horizon, solver, config.gradient, counter=counter)
    return (end - observed[starts + config.segment]).square().mean()


@torch.no_grad()
def evaluate(run: Run, config: Spiral, field: nn.Module, a: Array, times: Array) -> None:
    """Record errors along the training trajectory and from unseen starts, and what the figures need."""
    starts = np.concatenate(
        (np.array(config.start)[None], unseen_starts(run.numpy_generator("unseen"), config))
    )
    exact = np.stack([solution(a, y0, times) for y0 in starts], 1)  # (T, 1 + unseen, 2)
    solver = Solver("dopri5", rtol=config.test_tolerance, atol=config.test_tolerance, step_to_end=False)
    counter = Counter()
    z0 = torch.tensor(starts, dtype=torch.float32, device=run.device)
    z = trajectory(field, z0, torch.tensor(times), solver, counter).cpu().double().numpy()
    off = z - exact
    protocol = f"dopri5-{config.test_tolerance:g}/{len(times)} times, interpolated"
    run.metric("nfe_test", counter.forward_evaluations, protocol)
    run.metric("trajectory_error", rms(off[:, 0]), protocol)
    run.metric("trajectory_error[unseen starts]", rms(off[:, 1:]), f"{protocol}/{config.unseen} starts")
    run.metric("mean_error", mean_length(off[:, 0]), f"{protocol}/Euclidean")
    run.metric("final_error", mean_length(off[-1:, 0]), f"{protocol}/Euclidean")
    _operator(run, field, a, exact[:, 0])
    for name, y in (("true", exact[:, 0]), ("learned", z[:, 0])):
        for i, axis in enumerate("xy"):
            run.curve(f"trajectory[{name}, {axis}]", times, y[:, i], "t", axis)
    _portrait(run, field, a)


def unseen_starts(generator: np.random.Generator, config: Spiral) -> Array:
    """Return starts `(unseen, 2)` of random direction, at distances within the trained range."""
    least, greatest = config.unseen_radii
    radius = generator.uniform(least, greatest, config.unseen)
    angle = generator.uniform(0, 2 * np.pi, config.unseen)
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), 1)


def _operator(run: Run, field: nn.Module, a: Array, points: Array) -> None:
    """Compare the learned field with A y, and its mean Jacobian with A, at the observed points."""
    y = torch.tensor(points, dtype=torch.float32, device=run.device)
    t = torch.zeros((), device=run.device)
    off = field(t, y).cpu().double().numpy() - points @ a.T
    run.metric("mean_error[field]", mean_length(off), "at the observations/Euclidean")
    jacobian = torch.func.vmap(torch.func.jacrev(lambda point: field(t, point[None])[0]))(y)
    learned = jacobian.mean(0).cpu().double().numpy()
    error = float(np.linalg.norm(learned - a) / np.linalg.norm(a))
    run.metric("parameter_error", error, "mean Jacobian at the observations against A/Frobenius")


def _portrait(run: Run, field: nn.Module, a: Array) -> None:
    """Keep both fields on one grid, `(points, 2)` each, for the phase portrait."""
    axis = np.linspace(-2.2, 2.2, 15)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    points = torch.tensor(grid, dtype=torch.float32, device=run.device)
    rates = field(torch.zeros((), device=run.device), points).cpu().double().numpy()
    for key, vectors in {"grid": grid, "field[learned]": rates, "field[true]": grid @ a.T}.items():
        run.artifact(key, vectors.astype(np.float32))


def mean_length(vectors: Array) -> float:
    """Return the mean Euclidean length of vectors `(N, 2)`."""
    return float(np.linalg.norm(vectors, axis=1).mean())


def rms(difference: Array) -> float:
    """Return the root mean square of all entries."""
    return float(np.sqrt(np.mean(np.square(difference))))
