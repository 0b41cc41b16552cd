"""A multi-scale flow learns images by maximum likelihood (grathwohl2019ffjord, finlay2020rnode).

| symbol | code | shape | equation |
|---|---|---|---|
| v | `Pixels` | `(N, C, H, W)` | values 0, 1, ..., L - 1 |
| x | `Pixels.batch` | `(B, C, H, W)` | (v + u) / L in the unit cube |
| log p(x) | `UnitCubeFlow.log_prob` | `(B,)` | density of x, the logit's Jacobian in it, in nats |
| bits/dim | `bits_per_dim` | `(B,)` | -(log p(x) / D - log L) / log 2, one u and one probe for each image |

The loss is that of `replications.ffjord.method`, less the constant D log L.
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
from bench.measure.clock import time_repeats
from replications.flows.density.divergence import Divergence
from replications.flows.density.images import UnitCubeFlow, bits_per_dim, dequantise
from replications.flows.density.integration import Integration
from replications.flows.density.multiscale import MultiScale
from replications.flows.fields.convolution import ConvField
from replications.flows.ode.solve import Solver
from replications.flows.training.batches import Batches
from replications.flows.training.settings import Training
from replications.tasks import measure
from replications.tasks.images.declaration import SHAPES, ImageConfig
from replications.tasks.training import fit

if TYPE_CHECKING:
    from bench.execution.worker import Run

SHOWN = 4096
"""Numbers that the pictures of samples in a record may hold; a square of at most 4x4 pictures."""


def build(
    shape: tuple[int, int, int] | list[int],
    dims: tuple[int, ...] | list[int] = (64, 64, 64),
    blocks: int = 2,
    scales: int = 0,
    alpha: float = 1e-6,
    T: float = 1.0,
    learn_T: bool = True,
    zero_last: bool = False,
    generator: torch.Generator | None = None,
) -> UnitCubeFlow:
    """Return an untrained flow of images in the unit cube.

    Args:
        shape: (C, H, W).
        dims: channels of each network's hidden layers.
        blocks: flows before and flows after each squeeze.
        scales: 0 for as many as the images allow.
        alpha: of the logit.
        T: end time of each block; where it starts, if learned.
        learn_T: whether the end times are parameters.
        zero_last: start with the last layers' weights at zero.
        generator: draws the parameters; None where they will be loaded.

    Raises:
        UserError: as `MultiScale` and `Logit`.
    """
    generator = generator or torch.Generator().manual_seed(0)
    c, h, w = shape

    def field(channels: int) -> ConvField:
        return ConvField(channels, dims, generator, zero_last)

    return UnitCubeFlow(MultiScale((c, h, w), field, blocks, scales, T=T, learn_T=learn_T), alpha)


class Pixels:
    """The images of a run.

    Attributes:
        levels: L.
        shape: (C, H, W) after pooling.
        per_epoch: iterations an epoch.
    """

    def __init__(self, run: Run, config: ImageConfig) -> None:
        self.run, self.config = run, config
        train, test = load(config.data, "train"), load(config.data, "test")
        self.levels = round(train.white) + 1
        self.train = pooled(train.images, config.pool).to(run.device)
        self.test = pooled(test.images[: config.test_images or None], config.pool).to(run.device)
        c, h, w = self.train.shape[1:]
        self.shape = (c, h, w)
        self._batches = Batches(run, len(self.train), config.batch)
        self.per_epoch = self._batches.per_epoch

    def batch(self, iteration: int) -> Tensor:
        """Return training images x of an iteration, `(B, C, H, W)`; a pure function of it."""
        v = self.train[self._batches(iteration).to(self.run.device)]
        generator = self.run.torch_generator(f"noise/{iteration}")
        if self.config.flip:
            mirrored = torch.rand(len(v), generator=generator).to(v.device) < 0.5
            v = torch.where(mirrored[:, None, None, None], v.flip(3), v)
        return dequantise(v, self.levels, generator)

    def test_points(self) -> Tensor:
        """Return the test images x `(N, C, H, W)`, always the same."""
        noise = self.run.torch_generator("test noise") if self.config.test_noise else None
        return dequantise(self.test, self.levels, noise)


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


def run(run: Run, config: ImageConfig) -> None:
    """Train, then measure likelihood, cost, inversion, regularity and the trace estimator on test images."""
    data = Pixels(run, config)
    arguments: dict[str, Any] = {
        "shape": list(data.shape),
        "dims": list(config.dims),
        **{
            name: getattr(config, name) for name in ("blocks", "scales", "alpha", "T", "learn_T", "zero_last")
        },
    }
    flow = build(**arguments, generator=run.torch_generator("field")).to(run.device)
    config = dataclasses.replace(config, iterations=min(config.iterations, config.epochs * data.per_epoch))
    settings = Training(
        config.iterations, config.learning_rate, weight_decay=config.weight_decay, warmup=config.warmup
    )
    dim = math.prod(data.shape)
    fit(run, flow, config, data.batch, settings)
    loss = run.curves["loss"]
    bits = bits_per_dim(-torch.tensor(loss.y), dim, data.levels).tolist()
    run.curve("loss", loss.x, bits, "iteration", "loss (bits/dim)")
    run.save_model("replications.tasks.images.evaluation:build", arguments, flow.state_dict())
    evaluate(run, flow, data, config)
    published_sizes(run)


@torch.no_grad()
def evaluate(run: Run, flow: UnitCubeFlow, data: Pixels, config: ImageConfig) -> None:
    """Record what the trained flow is worth."""
    integration, x = in_test(config), data.test_points()
    likelihood(run, flow, x, integration, data.levels, config)
    few = x[: config.checked]
    probes = cast(MultiScale, flow.flow).draw(few, run.torch_generator("checked"), integration)
    measure.solver_error(run, flow, few, integration, probes)
    measure.inversion(run, flow, few, integration)
    measure.regularity(run, flow, few, integration, run.torch_generator("regularity"))
    measure.end_time(run, flow)
    trace_variance(run, flow, few, integration, config.probes, len(x))
    sample(run, flow, integration, data)


def likelihood(
    run: Run, flow: UnitCubeFlow, x: Tensor, integration: Integration, levels: int, config: ImageConfig
) -> None:
    """Record the NLL of test images in nats and in bits/dim, one dequantisation and one probe each, and its cost."""
    nll = measure.likelihood(run, flow, x, integration, config.test_batch, run.torch_generator("test probes"))
    bits = bits_per_dim(-nll, math.prod(x.shape[1:]), levels)
    noise = "uniform noise" if config.test_noise else "centres of cells"
    pixels = "x".join(str(side) for side in x.shape[2:])
    protocol = f"{integration.protocol}/{noise}, K=1/{config.data} {pixels}, {levels} levels/batch {config.test_batch}"
    for key, values in (("nll", nll), ("bits_per_dim", bits)):  # in place of the density's own bits
        run.metric(key, values.mean().item(), protocol, len(x), values.std().item() / math.sqrt(len(x)))


def trace_variance(
    run: Run, flow: UnitCubeFlow, x: Tensor, integration: Integration, repeats: int, test_images: int
) -> None:
    """Record the variance of the estimated log-likelihood over probes, the images' noise fixed.

    Of one image, averaged over images, in nats^2 and in (bits/dim)^2; and of the mean over all test images, whose
    probes are independent, in (bits/dim)^2: the second over their number.
    """
    if integration.divergence.kind == "exact":
        return
    again = x.repeat(repeats, 1, 1, 1)
    log_p = flow.log_prob(again, generator=run.torch_generator("trace variance"), integration=integration)
    variance = log_p.double().reshape(repeats, len(x)).var(0).mean().item()
    in_bits = variance / (math.prod(x.shape[1:]) * math.log(2)) ** 2
    told, n = f"{integration.protocol}/log-likelihood over {repeats} probes", len(x)
    run.metric("trace_variance", variance, f"{told}, mean over images, nats^2", n)
    run.metric("trace_variance[bits/dim]", in_bits, f"{told}, mean over images, (bits/dim)^2", n)
    mean = f"{told}, of the mean over {test_images} images, (bits/dim)^2"
    run.metric("trace_variance[bits/dim, test set]", in_bits / test_images, mean, n)


def sample(run: Run, flow: UnitCubeFlow, integration: Integration, data: Pixels) -> None:
    """Record what samples cost, and some as a curve: x is their shape `(n, C, H, W)`, y their values 0..L-1."""
    draw = partial(flow.sample, 16, integration=integration)
    timing = time_repeats(lambda: draw(run.torch_generator("timing")), device=run.device, repeats=3)
    run.metric("sampling_time", timing.median, f"{integration.solver.protocol}/16 images/median of 3", 16)
    shown = max(1, min(4, math.isqrt(SHOWN // math.prod(data.shape)))) ** 2
    x = draw(run.torch_generator("samples"))[:shown]
    values = (data.levels * x).floor().clamp(0, data.levels - 1)
    run.curve("samples", x.shape, values.flatten().tolist(), "shape", f"value of {data.levels}")


def published_sizes(run: Run) -> None:
    """Record the number of parameters of the published networks, whatever was trained; end times not learned."""
    sizes = {(name, (64, 64, 64)): shape for name, shape in SHAPES.items()} | {
        ("cifar10", (64, 64)): (3, 32, 32)
    }
    for (name, dims), shape in sizes.items():
        size = sum(p.numel() for p in build(shape, dims, learn_T=False).parameters())
        widths = "-".join(map(str, dims))
        run.metric(f"parameters[{name} {widths}]", size, "published network, untrained, T = 1 given")
