"""A U-Net learns the velocity of images by Flow Matching (lipman2023flow, tong2024improving).

| symbol | code | shape | equation |
|---|---|---|---|
| v | `Images.values` | `(N, C, H, W)` | values 0, 1, ..., L - 1 |
| x, c | `Images.batch` | `(B, C, H, W)`, `(B,)` | x = (v + u) / L in the unit cube, u uniform; class |
| x1 | | `(B, C, H, W)` | 2x - 1, the data of the conditional paths |
| L | `replications.flow_matching.method.objective` | scalar | mean over batch and pixels of (v(t, x_t) - u_t)^2 |

An iteration evaluates the network once, and solves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.data.images import load
from replications.flow_matching.experiments.images.declaration import ImagesConfig
from replications.flow_matching.experiments.images.quality import (
    Judge,
    draw_images,
    evaluate,
    fixed,
    to_bytes,
)
from replications.flow_matching.method import METHODS, draw, drop_labels, objective
from replications.flow_matching.model import build_images, velocity_of
from replications.flows.density.images import UnitCubeFlow, dequantise
from replications.flows.training.batches import Batches
from replications.flows.training.settings import Training
from replications.tasks.images.evaluation import pooled
from replications.tasks.training import fit

if TYPE_CHECKING:
    from bench.execution.run import Run

VALIDATION = ("midpoint", 16)
"""Method and NFE by which images are drawn in training."""


class Images:
    """The images of a run.

    Attributes:
        levels: L.
        classes: number of classes.
        shape: (C, H, W) after pooling.
    """

    def __init__(self, run: Run, config: ImagesConfig) -> None:
        self.run, self.config = run, config
        train, test = load(config.data, "train"), load(config.data, "test")
        self.levels, self.classes = round(train.white) + 1, train.classes
        self._values = {
            split: pooled(part.images, config.pool) for split, part in (("train", train), ("test", test))
        }
        self._labels = {"train": train.labels, "test": test.labels}
        c, h, w = self._values["train"].shape[1:]
        self.shape = (c, h, w)
        self._batches = Batches(run, len(train.labels), config.batch)

    def batch(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Return training images x `(B, C, H, W)` and their classes `(B,)`; a pure function of the iteration."""
        rows = self._batches(iteration)
        v = self._values["train"][rows]
        generator = self.run.torch_generator(f"noise/{iteration}")
        if self.config.flip:
            mirrored = torch.rand(len(v), generator=generator) < 0.5
            v = torch.where(mirrored[:, None, None, None], v.flip(3), v)
        x = dequantise(v, self.levels, generator)
        return x.to(self.run.device), self._labels["train"][rows].to(self.run.device)

    def chosen(self, split: str, n: int, stream: str) -> tuple[Tensor, Tensor]:
        """Return n images of a split as uint8 with white 255, and their classes; drawn at random, all where n is 0."""
        rows = self._rows(split, n, stream)
        return to_bytes(self._values[split][rows], self.levels), self._labels[split][rows]

    def values(self, split: str, n: int, stream: str) -> Tensor:
        """Return n images of a split as values 0..L-1; drawn at random, all where n is 0."""
        return self._values[split][self._rows(split, n, stream)]

    def classes_at_random(self, n: int) -> Tensor:
        """Return n classes `(n,)`, distributed as in the training images; always the same."""
        rows = torch.randint(len(self._labels["train"]), (n,), generator=self.run.torch_generator("classes"))
        return self._labels["train"][rows]

    def _rows(self, split: str, n: int, stream: str) -> Tensor:
        total = len(self._labels[split])
        if n in (0, total):
            return torch.arange(total)
        return torch.randperm(total, generator=self.run.torch_generator(stream))[:n]


def run(run: Run, config: ImagesConfig) -> None:
    """Train, then measure sample quality, FID against NFE, and likelihood."""
    data, path = Images(run, config), METHODS[config.method]().path
    arguments: dict[str, Any] = {
        "shape": list(data.shape),
        "channels": config.channels,
        **{name: list(getattr(config, name)) for name in ("mult", "attention")},
        **{name: getattr(config, name) for name in ("depth", "head_channels")},
        "classes": data.classes if config.conditional else 0,
        "scale": path.source_std,
        "times": list(path.times),
    }
    flow = build_images(**arguments, generator=run.torch_generator("field")).to(run.device)
    judge = Judge(run, data, config)
    train(run, flow, data, config, judge)
    run.save_model("replications.flow_matching.model:build_images", arguments, flow.state_dict())
    evaluate(run, flow, data, config, judge)


def train(run: Run, flow: UnitCubeFlow, data: Images, config: ImagesConfig, judge: Judge) -> None:
    """Train a flow in place, with the FID on the way."""
    method, velocity = METHODS[config.method](), velocity_of(flow)

    def loss(iteration: int) -> Tensor:
        x, labels = data.batch(iteration)
        generator = run.torch_generator(f"draw/{iteration}")
        drawn = draw(method, x1 := flow.map(x)[0], generator)
        told = drop_labels(labels, config.drop, data.classes, generator) if config.conditional else None
        flow.counter.count(1)
        return objective(velocity, method.path, x1, drawn, told)

    few = data.classes_at_random(config.samples)[: config.few_samples]

    def validate() -> float:
        drawn = draw_images(run, flow, few, fixed(*VALIDATION), config, data.levels)
        return judge.fid(drawn.images).value

    settings = Training(
        config.iterations,
        config.learning_rate,
        schedule=config.schedule,
        warmup=config.warmup,
        clip_norm=config.clip_norm,
        ema_decay=config.ema_decay,
        validate_every=config.validate_every,
    )
    told = f"{config.iterations} iterations of {config.batch}/mean squared error about the targets of its own path"
    fit(run, flow, loss, settings, told, validate)
    curve, (solver, evaluations) = run.curves["validation"], VALIDATION
    run.curve("validation", curve.x, curve.y, "iteration", f"FID, {solver} NFE {evaluations}")
    loss_curve = run.curves["loss"]
    run.curve("loss", loss_curve.x, loss_curve.y, "iteration", "mean squared error")
