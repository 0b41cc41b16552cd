"""A U-Net learns the velocity of images by Flow Matching (lipman2023flow, tong2024improving).

| symbol | code | shape | equation |
|---|---|---|---|
| v | `Images.train` | `(N, C, H, W)` | values 0, 1, ..., L - 1 |
| x, c | `Images.batch` | `(B, C, H, W)`, `(B,)` | x = (v + u) / L in the unit cube, u uniform; class |
| x1 | | `(B, C, H, W)` | 2x - 1, the data of the conditional paths |
| L | `replications.flow_matching.method.objective` | scalar | mean over batch and pixels of (v(t, x_t) - u_t)^2 |

An iteration evaluates the network once, and solves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from replications.flow_matching.experiments.images.data import Images
from replications.flow_matching.experiments.images.declaration import FlowMatchingImageConfig
from replications.flow_matching.experiments.images.evaluation import Evaluation, evaluate
from replications.flow_matching.experiments.images.measured import equal_steps
from replications.flow_matching.method import METHODS, draw, drop_labels, objective
from replications.flow_matching.model import build_images, velocity_of
from replications.flows.density.images import UnitCubeFlow
from replications.flows.training.settings import Training
from replications.tasks.recording import relabel
from replications.tasks.training import fit, training_clock

if TYPE_CHECKING:
    from bench.execution.run import Run

BUILDER = "replications.flow_matching.model:build_images"
VALIDATION = ("midpoint", 16)
"""Method and NFE by which images are drawn in training."""


def run(run: Run, config: FlowMatchingImageConfig) -> None:
    """Train, then measure sample quality, FID against NFE, and likelihood."""
    data = Images(run, config)
    arguments = arguments_of(data, config)
    flow = build_images(**arguments, generator=run.torch_generator("field")).to(run.device)
    evaluation = Evaluation(run, data, config)
    train(run, flow, data, config, evaluation)
    run.save_model(BUILDER, arguments, flow.state_dict())
    evaluate(run, flow, evaluation)


def arguments_of(data: Images, config: FlowMatchingImageConfig) -> dict[str, Any]:
    """Return the arguments of the flow's builder."""
    path = METHODS[config.method]().path
    return {
        "shape": list(data.shape),
        "channels": config.channels,
        **{name: list(getattr(config, name)) for name in ("mult", "attention")},
        **{name: getattr(config, name) for name in ("depth", "head_channels")},
        "classes": data.classes if config.conditional else 0,
        "scale": path.source_std,
        "times": list(path.times),
    }


def train(
    run: Run, flow: UnitCubeFlow, data: Images, config: FlowMatchingImageConfig, evaluation: Evaluation
) -> None:
    """Train a flow in place, with the FID of its samples on the way."""
    method, velocity = METHODS[config.method](), velocity_of(flow)
    clock = training_clock(run)
    batch = clock.drawn(data.batch)

    def loss(iteration: int) -> Tensor:
        x, classes = batch(iteration)
        generator = run.torch_generator(f"draw/{iteration}")
        drawn = draw(method, x1 := flow.map(x)[0], generator)
        labels = drop_labels(classes, config.drop, data.classes, generator) if config.conditional else None
        flow.counter.count(1)
        return objective(velocity, method.path, x1, drawn, labels)

    def validate() -> float:
        drawn = evaluation.draw(flow, equal_steps(*VALIDATION), evaluation.few())
        return evaluation.judge.fid(drawn.images).value

    protocol = f"{config.iterations} iterations of {config.batch}/mean squared error about the targets of its own path"
    fit(run, flow, loss, settings(config), protocol, validate, clock=clock, sizes=data.sizes)
    relabel(run, "loss", "mean squared error")
    solver, evaluations = VALIDATION
    relabel(run, "validation", f"FID, {solver} NFE {evaluations}")


def settings(config: FlowMatchingImageConfig) -> Training:
    """Return how to train: Adam, its rate by a schedule after the warm-up, gradients clipped, weights averaged."""
    return Training(
        config.iterations,
        config.learning_rate,
        schedule=config.schedule,
        warmup=config.warmup,
        clip_norm=config.clip_norm,
        ema_decay=config.ema_decay,
        validate_every=config.validate_every,
    )
