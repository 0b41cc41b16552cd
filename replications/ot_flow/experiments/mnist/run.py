"""OT-Flow learns the latent points of an autoencoder's images (onken2021otflow)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.measure.clock import reader, time_repeats
from replications.flows.density import evaluate as flows
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.training.log import Log, blocks
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.ot_flow.experiments.mnist import measured
from replications.ot_flow.experiments.mnist.autoencoder import Autoencoder, LatentFlow, build, size
from replications.ot_flow.experiments.mnist.data import Images, images
from replications.ot_flow.measured import evaluated, generated
from replications.ot_flow.method import rk4
from replications.ot_flow.recording import record_costs, record_generated
from replications.ot_flow.training import fit, in_periods, precision
from replications.tasks.images.evaluation import as_picture
from replications.tasks.method import in_test
from replications.tasks.recording import record_checks, record_likelihood, record_mean, record_times
from replications.tasks.splits import (
    Split,
    TestSet,
    TrainBatches,
    first,
    held_out,
    mapped,
    to_train,
    to_validate,
)
from replications.tasks.training import training_clock

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.ot_flow.experiments.mnist.declaration import OTFlowMnistConfig

BUILDER = "replications.ot_flow.experiments.mnist.autoencoder:build"
SAMPLES, RECONSTRUCTED = 16, 8
SIDE = 6
"""Pictures a side of the interpolation."""
QUARTERS = 4
"""Periods of the autoencoder's learning rate, which falls tenfold between them."""


def run(run: Run, config: OTFlowMnistConfig) -> None:
    """Train the autoencoder, then the flow of its latent points; then measure both on test images."""
    data = images(run, config)
    arguments = arguments_of(data, config)
    model = build(**arguments, generator=run.torch_generator("parameters")).to(run.device, precision(config))
    fit_autoencoder(run, model.autoencoder, data.split, config)
    record_reconstruction(run, model.autoencoder, data.split)
    latents = encoded(model.autoencoder, data.split)
    fit_flow(run, model.flow, latents, config)
    own, x = rk4(config.own_steps), held_out(latents.test)
    terms = evaluated(model.flow, x, config.own_steps, config.test_batch, reader(run.device))
    record_costs(run, terms, own.protocol)
    run.save_model(BUILDER, arguments, model.float().state_dict())
    evaluate(run, model, mapped(latents.test, Tensor.float), config)
    pictures(run, model, data, own)


def arguments_of(data: Images, config: OTFlowMnistConfig) -> dict[str, Any]:
    """Return the arguments of the model's builder."""
    shift, scale = (data.mean, data.std) if config.standardised else (0.0, 1.0)
    return {
        "pixels": data.split.train.points.shape[1],
        "latent": config.latent,
        "width": config.width,
        "layers": config.layers,
        "shift": shift,
        "scale": scale,
    }


# -- training ---------------------------------------------------------------------------------------------------


def fit_autoencoder(run: Run, autoencoder: Autoencoder, data: Split, config: OTFlowMnistConfig) -> None:
    """Train the autoencoder in place on training images alone, set its normalisation, and record both."""
    batches, clock = TrainBatches(run, data.train, config.autoencoder_batch), training_clock(run)
    batch = clock.drawn(batches)
    settings = autoencoder_settings(config, batches.per_epoch)
    validation = to_validate(data.validation)

    @torch.no_grad()
    def validate() -> float:
        return autoencoder.loss(validation).item()

    log = train(
        run,
        autoencoder,
        lambda i: autoencoder.loss(batch(i)),
        settings,
        validate,
        phase="autoencoder",
        clock=clock,
    )
    autoencoder.normalise_by(to_train(data.train))
    run.metric("parameters[autoencoder]", size(autoencoder), "trainable")
    record_autoencoder(run, log, autoencoder.std, config.autoencoder_batch, batches.sizes)


def record_autoencoder(run: Run, log: Log, std: Tensor, batch: int, sizes: Sequence[int] = (1,)) -> None:
    """Record what the autoencoder's training cost, its losses, and the deviation of each latent dimension, sorted."""
    record_times(run, log, f"{len(log.losses)} iterations of {batch}", "autoencoder")
    run.curve("autoencoder_loss", *blocks(log.losses, sizes=sizes), "iteration", "loss")
    done, values = zip(*log.validations, strict=True)
    run.curve("autoencoder_validation", done, values, "iteration", "validation")
    stds = sorted(float(f"{value:.4g}") for value in std.tolist())
    run.curve("latent_std", range(len(stds)), stds, "latent dimension", "standard deviation")


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
        keep="best",
    )


@torch.no_grad()
def encoded(autoencoder: Autoencoder, data: Split) -> Split:
    """Return the normalised latent points `(N, d)` of a run's images, each set of its kind."""
    encode = autoencoder.encode
    return Split(mapped(data.train, encode), mapped(data.validation, encode), mapped(data.test, encode))


def fit_flow(run: Run, flow: Flow, latents: Split, config: OTFlowMnistConfig) -> None:
    """Train the flow in place on latent points of training images alone, and record what that cost."""
    batches = TrainBatches(run, latents.train, config.batch)
    fit(run, flow, config, batches, in_periods(config), latents.validation, sizes=batches.sizes)


# -- evaluation -------------------------------------------------------------------------------------------------


def record_reconstruction(run: Run, autoencoder: Autoencoder, data: Split) -> None:
    """Record the mean squared error per pixel on test images, and on those that the training has seen."""
    sets = {
        "": held_out(data.test),
        "train": to_train(data.train),
        "validation": to_validate(data.validation),
    }
    for name, x in sets.items():
        key = f"reconstruction_error[{name}]" if name else "reconstruction_error"
        errors = measured.reconstruction_errors(autoencoder, x)
        record_mean(run, key, errors, f"{name or 'test'} images/pixels in 0..1")


def evaluate(run: Run, model: LatentFlow, test: TestSet, config: OTFlowMnistConfig) -> None:
    """Record what the trained flow is worth on latent points `(N, d)` of test images.

    A latent dimension that is zero for all images, as its unit is never active, leaves the likelihood without an upper
    bound: `nll` compares trainings of one length, and is no estimate of an entropy. See the curve `latent_std`.
    """
    flow, x, integration, own = model.flow, held_out(test), in_test(config), rk4(config.own_steps)
    draws = run.torch_generator("generated")
    found = generated(flow, x, own, config.generated, draws, config.test_batch)
    record_generated(run, found, own.solver.protocol)
    likelihood = flows.likelihood(flow, x, integration, config.test_batch, clock=reader(run.device))
    record_likelihood(run, likelihood, integration, config.test_batch)
    record_checks(run, flow, held_out(first(test, config.checked)), integration)
    n, (value, se) = len(found.samples), measured.median_mmd(found.samples, x)
    run.metric("mmd", value, f"{own.solver.protocol}/squared, unbiased, Gaussian kernel/{n} points", n, se)
    draw = partial(model.sample, SAMPLES, integration=integration)
    timing = time_repeats(lambda: draw(run.torch_generator("timing")), device=run.device, repeats=3)
    protocol = f"{integration.solver.protocol}/{SAMPLES} images/median of 3"
    run.metric("sampling_time", timing.median, protocol, SAMPLES)


@torch.no_grad()
def pictures(run: Run, model: LatentFlow, data: Images, integration: Integration) -> None:
    """Keep images that the flow draws, test images beside their reconstructions, and an interpolation."""
    originals = held_out(first(data.split.test, RECONSTRUCTED)).float()
    shown = {
        "samples": model.sample(SAMPLES, run.torch_generator("samples"), integration),
        "originals": originals,
        "reconstructions": model.autoencoder(originals),
        "interpolation": measured.interpolation(model, held_out(data.corners).float(), SIDE, integration),
    }
    for key, x in shown.items():
        run.artifact(key, as_picture(x.reshape(-1, *data.shape)))
