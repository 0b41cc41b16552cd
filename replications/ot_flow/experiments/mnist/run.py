"""OT-Flow learns the latent points of an autoencoder's images (onken2021otflow)."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from bench.data.images import load
from bench.errors import UserError
from bench.measure.clock import reader, time_repeats
from bench.metrics.transport import mmd
from replications.flows.density import evaluate as measured
from replications.flows.density.integration import Integration
from replications.flows.training.batches import Batches
from replications.flows.training.log import blocks
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.ot_flow.experiments.mnist.autoencoder import Autoencoder, LatentFlow, build, size
from replications.ot_flow.measured import fit, in_periods, precision, record_costs, record_generated
from replications.ot_flow.method import rk4
from replications.tasks.images.evaluation import as_picture
from replications.tasks.method import in_test
from replications.tasks.recording import record_checks, record_likelihood

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.flows.density.flow import Flow
    from replications.ot_flow.experiments.mnist.declaration import OTFlowMnistConfig

SAMPLES, RECONSTRUCTED = 16, 8
SIDE = 6
"""Pictures a side of the interpolation."""
QUARTERS = 4
"""Periods of the autoencoder's learning rate, which falls tenfold between them."""


class Images(NamedTuple):
    """Images `(N, P)` of a run, pixels in 0..1: three disjoint sets, and the corners of the interpolation."""

    train: Tensor
    validation: Tensor
    test: Tensor
    corners: Tensor
    shape: tuple[int, int]
    mean: float
    std: float


class Latents(NamedTuple):
    """Their normalised latent points `(N, d)`."""

    train: Tensor
    validation: Tensor
    test: Tensor


def run(run: Run, config: OTFlowMnistConfig) -> None:
    """Train the autoencoder, then the flow of its latent points; then measure both on test images."""
    data = images(run, config)
    shift, scale = (data.mean, data.std) if config.standardised else (0.0, 1.0)
    arguments: dict[str, Any] = {
        "pixels": data.train.shape[1],
        "latent": config.latent,
        "width": config.width,
        "layers": config.layers,
        "shift": shift,
        "scale": scale,
    }
    model = build(**arguments, generator=run.torch_generator("parameters")).to(run.device, precision(config))
    fit_autoencoder(run, model.autoencoder, data, config)
    latents = encoded(model.autoencoder, data)
    fit_flow(run, model.flow, latents, config)
    record_costs(run, model.flow, latents.test, config.own_steps, config.test_batch)
    run.save_model(
        "replications.ot_flow.experiments.mnist.autoencoder:build", arguments, model.float().state_dict()
    )
    evaluate(run, model, latents.test.float(), config)
    pictures(run, model, data, rk4(config.own_steps))


def images(run: Run, config: OTFlowMnistConfig) -> Images:
    """Return the config's images; a random part of the training images is held out to validate.

    Raises:
        UserError: no image is left to train on.
    """
    kept, test = load(config.data, "train"), load(config.data, "test")
    held_out = config.validation_images
    if held_out >= len(kept.images):
        raise UserError(
            f"{held_out} validation images leave none of {len(kept.images)} to train on: take fewer"
        )

    def pixels(raw: Tensor) -> Tensor:
        return (raw.flatten(1).to(precision(config)) / kept.white).to(run.device)

    order = torch.randperm(len(kept.images), generator=run.torch_generator("split"))
    # As in the authors' figure, three nines and a one; the set's first ones.
    corners = torch.cat([(test.labels == digit).nonzero()[:n, 0] for digit, n in ((9, 3), (1, 1))])
    h, w = kept.images.shape[2:]
    return Images(
        pixels(kept.images[order[held_out:]]),
        pixels(kept.images[order[:held_out]]),
        pixels(test.images[: config.test_images or None]),
        pixels(test.images[corners]),
        (h, w),
        kept.mean[0],
        kept.std[0],
    )


def fit_autoencoder(run: Run, autoencoder: Autoencoder, data: Images, config: OTFlowMnistConfig) -> None:
    """Train the autoencoder in place on training images alone, set its normalisation, and record both."""
    batches = Batches(run, len(data.train), config.autoencoder_batch)
    settings = autoencoder_settings(config, batches.per_epoch)

    @torch.no_grad()
    def validate() -> float:
        return autoencoder.loss(data.validation).item()

    def loss(iteration: int) -> Tensor:
        return autoencoder.loss(data.train[batches(iteration).to(run.device)])

    log = train(run, autoencoder, loss, settings, validate, phase="autoencoder")
    autoencoder.normalise_by(data.train)
    told = f"{settings.iterations} iterations of {config.autoencoder_batch}"
    run.metric("parameters[autoencoder]", size(autoencoder), "trainable")
    run.metric("train_time[autoencoder]", log.train_time, told)
    run.metric("iteration_time[autoencoder]", log.iteration_time, f"{told}/median", len(log.seconds))
    run.curve("autoencoder_loss", *blocks(log.losses), "iteration", "loss")
    done, values = zip(*log.validations, strict=True)
    run.curve("autoencoder_validation", done, values, "iteration", "validation")
    stds = sorted(float(f"{value:.4g}") for value in autoencoder.std.tolist())
    run.curve("latent_std", range(len(stds)), stds, "latent dimension", "standard deviation")
    _reconstruction(run, autoencoder, data)


def autoencoder_settings(config: OTFlowMnistConfig, per_epoch: int) -> Training:
    """Return how to train the autoencoder: Adam, its rate a tenth after each quarter, best validated weights kept."""
    iterations = config.epochs * per_epoch
    drops = tuple(round(i * iterations / QUARTERS) for i in range(1, QUARTERS))
    return Training(
        iterations,
        config.autoencoder_rate,
        schedule="step",
        milestones=drops,
        validate_every=per_epoch,
        patience=iterations,  # never ends early, but keeps the best weights
    )


@torch.no_grad()
def _reconstruction(run: Run, autoencoder: Autoencoder, data: Images) -> None:
    """Record the mean squared error per pixel on all three sets, pixels in 0..1 whatever the training compared."""
    for qualifier, x in (("", data.test), ("[train]", data.train), ("[validation]", data.validation)):
        errors = torch.cat([(autoencoder(part) - part).square().mean(1) for part in x.split(10_000)]).double()
        se = errors.std().item() / math.sqrt(len(x))
        told = f"{qualifier.strip('[]') or 'test'} images/pixels in 0..1"
        run.metric(f"reconstruction_error{qualifier}", errors.mean().item(), told, len(x), se)


@torch.no_grad()
def encoded(autoencoder: Autoencoder, data: Images) -> Latents:
    """Return the normalised latent points of a run's images."""
    return Latents(*(autoencoder.encode(x) for x in (data.train, data.validation, data.test)))


def fit_flow(run: Run, flow: Flow, latents: Latents, config: OTFlowMnistConfig) -> None:
    """Train the flow in place on latent points of training images alone, and record what that cost."""
    batches = Batches(run, len(latents.train), config.batch)

    def batch(iteration: int) -> Tensor:
        return latents.train[batches(iteration).to(run.device)]

    fit(run, flow, config, batch, in_periods(config), latents.validation)


@torch.no_grad()
def evaluate(run: Run, model: LatentFlow, test: Tensor, config: OTFlowMnistConfig) -> None:
    """Record what the trained flow is worth on latent points `(N, d)` of test images.

    The paper's kernel for the MMD, exp(-|x - y|^2), sees nothing in so many dimensions, where any two points are far
    apart; `mmd` without a qualifier has the median distance for its width.

    A latent dimension that is zero for all images, as its unit is never active, leaves the likelihood without an upper
    bound: `nll` compares trainings of one length, and is no estimate of an entropy. See the curve `latent_std`.
    """
    flow, integration, own = model.flow, in_test(config), rk4(config.own_steps)
    record_generated(run, flow, test, own, config.generated, config.test_batch)
    found = measured.likelihood(flow, test, integration, config.test_batch, clock=reader(run.device))
    record_likelihood(run, found, integration, config.test_batch)
    few = test[: config.checked]
    record_checks(run, flow, few, integration)
    n = min(config.generated, len(test))
    drawn, kept = flow.sample(n, run.torch_generator("generated"), own), test[:n]
    ours, theirs = (part.double().cpu().numpy() for part in (drawn, kept))
    value, se = mmd(ours, theirs)
    run.metric("mmd", value, f"{own.solver.protocol}/squared, unbiased, Gaussian kernel/{n} points", n, se)
    draw = partial(model.sample, SAMPLES, integration=integration)
    timing = time_repeats(lambda: draw(run.torch_generator("timing")), device=run.device, repeats=3)
    run.metric(
        "sampling_time", timing.median, f"{integration.solver.protocol}/{SAMPLES} images/median of 3", SAMPLES
    )


@torch.no_grad()
def pictures(run: Run, model: LatentFlow, data: Images, integration: Integration) -> None:
    """Record images that the flow draws, test images beside their reconstructions, and an interpolation.

    The interpolation is bilinear between the base points of four test images, the corners, which are shown as they
    are: as in the authors' figure.
    """
    samples = model.sample(SAMPLES, run.torch_generator("samples"), integration)
    originals, corners = data.test[:RECONSTRUCTED].float(), data.corners.float()
    grid = model.decode(interpolated(model.encode(corners, integration), SIDE), integration)
    grid[[0, SIDE - 1, SIDE * (SIDE - 1), SIDE * SIDE - 1]] = corners
    shown = {
        "samples": samples,
        "originals": originals,
        "reconstructions": model.autoencoder(originals),
        "interpolation": grid,
    }
    for key, x in shown.items():
        run.artifact(key, as_picture(x.reshape(-1, *data.shape)))


def interpolated(corners: Tensor, side: int) -> Tensor:
    """Return points `(side^2, d)`, row by row, bilinear between four `(4, d)`: the first row's ends, the last row's."""
    s = torch.linspace(0, 1, side, dtype=corners.dtype, device=corners.device)
    ends = torch.stack((1 - s, s), 1)
    weights = torch.einsum("ia,jb->ijab", ends, ends).reshape(side * side, 4)
    return weights @ corners
