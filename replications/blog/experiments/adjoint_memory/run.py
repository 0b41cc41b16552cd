"""Experiment 3 of the tutorial: memory and time of three ways to the gradient, on frozen pretrained features.

| symbol | code | shape | equation |
|---|---|---|---|
| phi | `Extractor.features` | `(B, D)` | features of an image, frozen after pretraining |
| f | `field` | `(B, D)` | MLP of five linear layers, time by `concat`, tanh |
| z(1) | `ODEBlock` | `(B, D)` | z' = f(t, z), z(0) = phi(image) |
| logits | `head` | `(B, 10)` | W z(1) + b |

`forward_backward_time` and `peak_memory` are of one forward and backward pass on one batch, without the
optimizer's step. `overhead[...]` compares with plain backpropagation through the fixed steps, measured in the same
process on the same batch and weights, the two in turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.data.images import load, random_crop
from bench.measure.clock import quotient, reader, take_turns
from bench.measure.memory import peak_memory, resident_peak
from replications.flows.fields.mlp import MlpField, initialise
from replications.flows.means import averaged_over, cycled, mean_over_points
from replications.flows.ode.block import ODEBlock
from replications.flows.ode.solve import Solver
from replications.flows.training.batches import Batches
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.tasks.classification import record_share
from replications.tasks.recording import record_curves, record_times
from replications.tasks.training import training_clock

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.blog.experiments.adjoint_memory.declaration import AdjointMemory

CLASSES = 10
LAST = 10
"""Iterations whose mean loss is that at the end."""


class Extractor(nn.Module):
    """A convolutional network: a stage a width, each halving the image, then a linear layer to D features.

    Args:
        in_channels: of the images.
        size: height and width of the images.
        config: widths of the stages, convolutions a stage, D.
        generator: draws the initial parameters.
    """

    def __init__(
        self, in_channels: int, size: int, config: AdjointMemory, generator: torch.Generator
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for width in config.stages:
            for i in range(config.convolutions):
                stride = 2 if i == 0 else 1
                layers += [
                    nn.Conv2d(channels, width, 3, stride, 1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                ]
                channels = width
            size = (size + 1) // 2
        layers += [nn.Flatten(), nn.Linear(channels * size * size, config.features)]
        self.features = nn.Sequential(*layers, nn.BatchNorm1d(config.features, affine=False))
        self.head = nn.Linear(config.features, CLASSES)
        initialise(self, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(B, 10)` of normalised images `(B, C, H, W)`; used in pretraining only."""
        logits: Tensor = self.head(functional.relu(self.features(images)))
        return logits


@dataclass(frozen=True)
class Features:
    """Frozen features `(N, D)` and labels `(N,)` of both splits."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


class Classifier(nn.Module):
    """Logits of features through an ODE block."""

    def __init__(self, config: AdjointMemory, generator: torch.Generator) -> None:
        super().__init__()
        field = MlpField(config.features, (config.width,) * (config.layers - 1), generator)
        self.block = ODEBlock(field, solver_of(config), config.gradient)
        self.head = nn.Linear(config.features, CLASSES)
        initialise(self.head, generator)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits `(B, 10)` of features `(B, D)`."""
        logits: Tensor = self.head(self.block(features))
        return logits


def solver_of(config: AdjointMemory) -> Solver:
    """Return the variant's solver: `steps` equal steps of Euler, or dopri5."""
    if config.adaptive:
        return Solver("dopri5", rtol=config.tolerance, atol=config.tolerance)
    return Solver(config.fixed_method, steps=config.steps)


def run(run: Run, config: AdjointMemory) -> None:
    """Pretrain and freeze the features, train the classifier, then measure its forward and backward pass."""
    data = pretrained_features(run, config)
    model = Classifier(config, run.torch_generator("classifier")).to(run.device)
    batches, clock = Batches(run, len(data.train), config.batch), training_clock(run)

    @clock.drawn
    def drawn(iteration: int) -> tuple[Tensor, Tensor]:
        chosen = batches(iteration).to(run.device)
        return data.train[chosen], data.train_labels[chosen]

    def loss(iteration: int) -> Tensor:
        features, labels = drawn(iteration)
        return functional.cross_entropy(model(features), labels)

    settings = Training(config.iterations, config.learning_rate, schedule="cosine")
    log = train(run, model, loss, settings, counter=model.block.counter, phase="classifier", clock=clock)
    record_curves(run, log, batches.sizes)
    protocol = f"{protocol_of(config)}/{config.iterations} iterations"
    record_times(run, log, protocol)
    sizes = cycled(batches.sizes, len(log.losses))[-LAST:]
    over = ", over points" if averaged_over(sizes) == "points" else ""
    loss_at_end = mean_over_points(log.losses[-LAST:], sizes)
    run.metric("train_loss", loss_at_end, f"{protocol}/mean of the last {LAST}{over}")
    run.metric("parameters", sum(p.numel() for p in model.parameters()), "classifier without the extractor")
    _test(run, model, data, protocol)
    measure(run, config, model, data)


def protocol_of(config: AdjointMemory) -> str:
    """Return the solver's part of the protocol id."""
    return f"dopri5-{config.tolerance:g}" if config.adaptive else f"{config.fixed_method}-{config.steps}"


def pretrained_features(run: Run, config: AdjointMemory) -> Features:
    """Train the extractor by its recipe and return its features; equal for all variants of a seed."""
    splits = {name: load(config.data, name) for name in ("train", "test")}
    images = splits["train"].images[: config.train_images].to(run.device)
    labels = splits["train"].labels[: config.train_images].to(run.device)
    normalise = splits["train"].normalise
    extractor = Extractor(images.shape[1], images.shape[2], config, run.torch_generator("extractor")).to(
        run.device
    )
    batches = Batches(run, len(images), config.batch)

    def loss(iteration: int) -> Tensor:
        chosen = batches(iteration).to(run.device)
        raw = images[chosen]
        if config.crop_padding:
            raw = random_crop(raw, config.crop_padding, run.torch_generator(f"crop/{iteration}"))
        return functional.cross_entropy(extractor(normalise(raw)), labels[chosen])

    settings = Training(config.extractor_iterations, config.extractor_lr, schedule="cosine")
    train(run, extractor, loss, settings, phase="extractor")
    extractor.eval()
    test, test_labels = splits["test"].images.to(run.device), splits["test"].labels.to(run.device)
    found = {name: _features(extractor, raw, normalise) for name, raw in (("train", images), ("test", test))}
    answers = extractor.head(functional.relu(found["test"])).argmax(1)
    protocol = f"{config.data}/extractor alone/{config.extractor_iterations} iterations"
    record_share(run, "test_accuracy[extractor]", answers, test_labels, test, protocol)
    return Features(found["train"], labels, found["test"], test_labels)


@torch.no_grad()
def _features(extractor: Extractor, raw: Tensor, normalise: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.cat([extractor.features(normalise(part)) for part in raw.split(1000)])


@torch.no_grad()
def _test(run: Run, model: Classifier, data: Features, protocol: str) -> None:
    model.block.counter.reset()
    answers = model(data.test).argmax(1)
    record_share(run, "test_accuracy", answers, data.test_labels, data.test, protocol)
    run.metric("nfe_test", model.block.counter.forward_evaluations, f"{protocol}/one batch")


@dataclass(frozen=True)
class GradientMethod:
    """How a pass gets its gradient."""

    gradient: str
    solver: Solver


class Passes:
    """Forward and backward passes of one classifier on the first images, by any way to the gradient."""

    def __init__(self, run: Run, config: AdjointMemory, model: Classifier, data: Features) -> None:
        self.device, self.model, self.data, self.batch = run.device, model, data, config.batch
        self.variant = GradientMethod(config.gradient, solver_of(config))
        self.baseline = GradientMethod("backprop", Solver(config.fixed_method, steps=config.steps))

    def once(self, method: GradientMethod, batch: int | None = None) -> None:
        """Compute the loss of a batch and its gradient, fresh buffers included."""
        chosen = slice(batch or self.batch)
        self.model.block.gradient, self.model.block.solver = method.gradient, method.solver
        self.model.zero_grad(set_to_none=True)
        functional.cross_entropy(
            self.model(self.data.train[chosen]), self.data.train_labels[chosen]
        ).backward()

    def peak(self, method: GradientMethod, batch: int | None = None) -> int:
        """Return the peak memory of a pass in bytes."""
        with peak_memory(self.device) as measured:
            self.once(method, batch)
        return measured.bytes

    def memory_overhead(self, batch: int | None = None) -> float:
        """Return by how much the variant's peak exceeds the baseline's, in %."""
        return 100 * (self.peak(self.variant, batch) / self.peak(self.baseline, batch) - 1)


def measure(run: Run, config: AdjointMemory, model: Classifier, data: Features) -> None:
    """Record memory, evaluations and time of a pass, memory first: the timed passes have no instrument on."""
    solver = protocol_of(config)
    protocol, passes = f"{solver}/batch {config.batch}", Passes(run, config, model, data)
    passes.once(passes.variant)  # first use allocates workspaces
    model.block.counter.reset()
    run.metric("peak_memory", passes.peak(passes.variant), protocol)
    run.metric("nfe_forward", model.block.counter.forward_evaluations, protocol)
    run.metric("nfe_backward", model.block.counter.backward_evaluations, protocol)
    run.metric("resident_memory", resident_peak(), "process, extractor and training included")
    arms = {"variant": partial(passes.once, passes.variant)}
    if passes.variant != passes.baseline:
        arms["baseline"] = partial(passes.once, passes.baseline)
    seconds = take_turns(arms, config.repeats, reader(run.device))
    mine = seconds["variant"]
    run.metric("forward_backward_time", statistics.median(mine), f"{protocol}/median of turns", n=len(mine))
    if "baseline" not in seconds:
        return
    against = f"against backprop {config.fixed_method}-{config.steps}"
    time = 100 * (quotient(mine, seconds["baseline"]) - 1)
    run.metric("overhead[time/backprop]", time, f"{protocol}/{against}/turns forth and back", n=len(mine))
    run.metric("overhead[memory/backprop]", passes.memory_overhead(), f"{protocol}/{against}")
    large = f"{solver}/batch {config.large_batch}/{against}"
    run.metric("overhead[memory/backprop, large batch]", passes.memory_overhead(config.large_batch), large)
