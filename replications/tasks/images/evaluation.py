"""Train a flow of images by maximum likelihood, and measure what it is worth on test images.

| symbol | code | shape | equation |
|---|---|---|---|
| v | `Pixels` | `(N, C, H, W)` | values 0, 1, ..., L - 1 |
| x | `Pixels.batch` | `(B, C, H, W)` | (v + u) / L in the unit cube |
| log p(x) | `UnitCubeFlow.log_prob` | `(B,)` | density of x, the logit's Jacobian in it, in nats |
| bits/dim | `bits_per_dim` | `(B,)` | -(log p(x) / D - log L) / log 2, one u and one probe for each image |

The loss is that of the method, less the constant D log L.
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from bench.data.images import load
from bench.errors import UserError
from bench.measure.clock import reader, time_repeats
from replications.flows.density import evaluate as measured
from replications.flows.density.divergence import Divergence
from replications.flows.density.images import UnitCubeFlow, bits_per_dim, dequantise
from replications.flows.density.integration import Integration
from replications.flows.density.multiscale import MultiScale
from replications.flows.ode.solver import Solver
from replications.flows.training.settings import Training
from replications.tasks.method import Method, build
from replications.tasks.recording import (
    record_end_time,
    record_inversion,
    record_likelihood,
    record_regularity,
    record_solver_error,
)
from replications.tasks.splits import TestSet, TrainBatches, TrainSet, first, held_out
from replications.tasks.training import fit_by

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.tasks.images.declaration import ImageConfig

SHOWN = 4
"""Pictures of samples a side of the square that is kept."""


class Pixels:
    """The images of a run.

    Attributes:
        levels: L.
        shape: (C, H, W) after pooling.
        per_epoch: iterations an epoch.
        sizes: images of each batch of an epoch.
    """

    def __init__(self, run: Run, config: ImageConfig) -> None:
        self.run, self.config = run, config
        train, test = load(config.data, "train"), load(config.data, "test")
        self.levels = round(train.white) + 1
        self.train = TrainSet(pooled(train.images, config.pool).to(run.device))
        self.raw_test = pooled(test.images[: config.test_images or None], config.pool).to(run.device)
        c, h, w = self.train.points.shape[1:]
        self.shape = (c, h, w)
        self._batches = TrainBatches(run, self.train, config.batch)
        self.per_epoch, self.sizes = self._batches.per_epoch, self._batches.sizes

    def batch(self, iteration: int) -> Tensor:
        """Return training images x of an iteration, `(B, C, H, W)`; a pure function of it."""
        v = self._batches(iteration)
        generator = self.run.torch_generator(f"noise/{iteration}")
        if self.config.flip:
            mirrored = torch.rand(len(v), generator=generator).to(v.device) < 0.5
            v = torch.where(mirrored[:, None, None, None], v.flip(3), v)
        return dequantise(v, self.levels, generator)

    def test(self) -> TestSet:
        """Return the test images x `(N, C, H, W)`, always the same."""
        noise = self.run.torch_generator("test noise") if self.config.test_noise else None
        return TestSet(dequantise(self.raw_test, self.levels, noise))


def pooled(images: Tensor, pool: int) -> Tensor:
    """Return raw images averaged over squares of pixels and rounded to integers again, uint8.

    Raises:
        UserError: a side is no multiple of the squares'.
    """
    if images.shape[2] % pool or images.shape[3] % pool:
        h, w = images.shape[2:]
        raise UserError(
            f"images of {h}x{w} pixels can not be averaged over squares of {pool}: choose another pool"
        )
    return images if pool == 1 else functional.avg_pool2d(images.float(), pool).round().to(images.dtype)


def in_test(config: ImageConfig) -> Integration:
    """Return how the flow is integrated in tests: one probe for each image, dopri5, end at T."""
    solver = Solver("dopri5", config.test_tolerance, config.test_tolerance)
    return Integration(solver, Divergence(config.divergence))


def trained(
    run: Run, data: Pixels, config: ImageConfig, method: Method, builder: str, arguments: dict[str, Any]
) -> UnitCubeFlow:
    """Return the flow that a builder makes, trained by a method; its cost is recorded and the model kept."""
    flow = cast(UnitCubeFlow, build(builder, arguments, run.torch_generator("field")).to(run.device))
    config = dataclasses.replace(config, iterations=min(config.iterations, config.epochs * data.per_epoch))
    settings = Training(
        config.iterations, config.learning_rate, weight_decay=config.weight_decay, warmup=config.warmup
    )
    fit_by(run, flow, method, config, data.batch, settings, sizes=data.sizes)
    loss = run.curves["loss"]
    bits = bits_per_dim(-torch.tensor(loss.y), math.prod(data.shape), data.levels).tolist()
    run.curve("loss", loss.x, bits, "iteration", "loss (bits/dim)")
    run.save_model(builder, arguments, flow.state_dict())
    return flow


@torch.no_grad()
def evaluate(run: Run, flow: UnitCubeFlow, data: Pixels, config: ImageConfig) -> None:
    """Record likelihood, its error, inversion, regularity and the trace estimator's variance of a trained flow."""
    integration, test = in_test(config), data.test()
    likelihood(run, flow, test, integration, data.levels, config)
    few = held_out(first(test, config.checked))
    probes = cast(MultiScale, flow.flow).draw(few, run.torch_generator("checked"), integration)
    record_solver_error(run, measured.solver_error(flow, few, integration, probes), integration)
    record_inversion(run, measured.inversion_error(flow, few, integration), integration.solver.protocol)
    draws = run.torch_generator("regularity")
    record_regularity(run, measured.regularity(flow, few, integration, draws), integration)
    record_end_time(run, flow)
    record_trace_variance(run, flow, few, integration, config.probes, len(test))
    sample(run, flow, integration, data)


def likelihood(
    run: Run, flow: UnitCubeFlow, test: TestSet, integration: Integration, levels: int, config: ImageConfig
) -> None:
    """Record the NLL of test images in nats and in bits/dim, one dequantisation and one probe each, and its cost."""
    x, draws = held_out(test), run.torch_generator("test probes")
    found = measured.likelihood(flow, x, integration, config.test_batch, draws, reader(run.device))
    record_likelihood(run, found, integration, config.test_batch)
    bits = bits_per_dim(found.log_prob, found.dim, levels)
    noise = "uniform noise" if config.test_noise else "centres of cells"
    pixels = "x".join(str(side) for side in x.shape[2:])
    protocol = f"{integration.protocol}/{noise}, K=1/{config.data} {pixels}, {levels} levels/batch {config.test_batch}"
    # In place of the density's own bits, which know nothing of the levels.
    run.metric("nll", found.nll, protocol, found.n, found.se)
    run.metric("bits_per_dim", bits.mean().item(), protocol, found.n, bits.std().item() / math.sqrt(found.n))


@torch.no_grad()
def trace_variance(
    flow: UnitCubeFlow, x: Tensor, integration: Integration, repeats: int, generator: torch.Generator
) -> float:
    """Return the variance over probes of the estimated log-likelihood of an image, the mean over images x, nats^2.

    Each image is repeated with probes of its own; the dequantisation noise is fixed.
    """
    again = x.repeat(repeats, 1, 1, 1)
    log_p = flow.log_prob(again, generator=generator, integration=integration)
    return log_p.double().reshape(repeats, len(x)).var(0).mean().item()


def record_trace_variance(
    run: Run, flow: UnitCubeFlow, x: Tensor, integration: Integration, repeats: int, test_images: int
) -> None:
    """Record it, and in (bits/dim)^2 that of an image and that of the mean over all test images.

    The probes of different images are independent: the last is the second over the number of test images.
    """
    if integration.divergence.kind == "exact":
        return
    variance = trace_variance(flow, x, integration, repeats, run.torch_generator("trace variance"))
    in_bits = variance / (math.prod(x.shape[1:]) * math.log(2)) ** 2
    protocol, n = f"{integration.protocol}/log-likelihood over {repeats} probes", len(x)
    run.metric("trace_variance", variance, f"{protocol}, mean over images, nats^2", n)
    run.metric("trace_variance[bits/dim]", in_bits, f"{protocol}, mean over images, (bits/dim)^2", n)
    mean = f"{protocol}, of the mean over {test_images} images, (bits/dim)^2"
    run.metric("trace_variance[bits/dim, test set]", in_bits / test_images, mean, n)


def sample(run: Run, flow: UnitCubeFlow, integration: Integration, data: Pixels) -> None:
    """Record what samples cost, and keep some as pictures `(n, C, H, W)`."""
    draw = partial(flow.sample, 16, integration=integration)
    timing = time_repeats(lambda: draw(run.torch_generator("timing")), device=run.device, repeats=3)
    run.metric("sampling_time", timing.median, f"{integration.solver.protocol}/16 images/median of 3", 16)
    x = draw(run.torch_generator("samples"))[: SHOWN**2]
    values = (data.levels * x).floor().clamp(0, data.levels - 1)
    run.artifact("samples", as_picture(values / (data.levels - 1)))


def as_picture(x: Tensor) -> Tensor:
    """Return values 0..1 as levels 0..255, uint8."""
    return (255 * x.clamp(0, 1)).round().to(torch.uint8)
