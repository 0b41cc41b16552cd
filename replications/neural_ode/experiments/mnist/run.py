"""Experiment `neural_ode.mnist`: Table 1 and the evaluations over training of Figure 3 (chen2018neural)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from bench.data.images import load, random_crop
from bench.execution.run import Run
from replications.flows.means import sizes_of
from replications.flows.ode.solver import Solver
from replications.flows.training.clock import TrainingClock
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.neural_ode.experiments.mnist.declaration import MnistConfig
from replications.neural_ode.experiments.mnist.measured import (
    Evaluations,
    classified_at,
    evaluations,
    gradient_error,
)
from replications.neural_ode.method import build, ode_block
from replications.tasks.classification import TEST_BATCH, Accuracy, accuracy, record_accuracy
from replications.tasks.cost import Loss, step_memory
from replications.tasks.recording import record_training
from replications.tasks.splits import TestSet, TrainBatches, TrainSet
from replications.tasks.training import training_clock

Prepare = Callable[[Tensor], Tensor]
"""Raw images `(B, 1, 28, 28)` -> what the network sees."""


def run(run: Run, config: MnistConfig) -> None:
    """Train one network, test it, measure memory and gradient of one training step."""
    train_set, test, white = images_of(config)
    prepare = partial(scaled, white=white, pool=config.pool, device=run.device)
    model = build(config.network, config.gradient, config.tolerance, run.torch_generator("init"))
    model = model.to(run.device)
    block = ode_block(model)
    counter = block.counter if block else None
    clock = training_clock(run)
    loss = training_loss(run, config, model, train_set, prepare, clock)

    def tested() -> Accuracy:
        return accuracy(model, test, prepare, counter)

    log = train(run, model, loss, settings(config), lambda: tested().error, counter=counter, clock=clock)
    sizes = sizes_of(len(train_set), config.batch)
    record_training(run, log, f"{seen(config)}/batch-{config.batch}", sizes=sizes)
    record_step(run, config, model, loss)
    record_accuracy(run, tested(), protocol_of_test(config))
    if block is not None:
        record_evaluations(run, evaluations(log), block.solver)
        for tolerance, qualifier in ((config.tight_tolerance, "tight"), (config.tolerance, "")):
            record_tested(
                run, config, classified_at(model, block, test, prepare, tolerance), tolerance, qualifier
            )
        protocol = f"training-batch/batch-{config.batch}/{block.solver.protocol}"
        run.metric("gradient_error", gradient_error(model, block, loss), protocol)
    arguments = {"network": config.network, "gradient": config.gradient, "tolerance": config.tolerance}
    run.save_model("replications.neural_ode.method:build", arguments, model.state_dict())


def settings(config: MnistConfig) -> Training:
    """Return SGD with momentum, its rate divided by ten at each milestone."""
    return Training(
        iterations=config.iterations,
        lr=config.learning_rate,
        optimizer="sgd",
        momentum=config.momentum,
        schedule="step",
        milestones=tuple(round(share * config.iterations) for share in config.milestones),
        validate_every=config.validate_every,
    )


# -- data -------------------------------------------------------------------------------------------------------


def images_of(config: MnistConfig) -> tuple[TrainSet, TestSet, float]:
    """Return the raw images to train and to test on, and the value of white."""
    train_images, test_images = load(config.data, "train"), load(config.data, "test")
    every = slice(None, None, config.test_every)
    test = TestSet(test_images.images[every], test_images.labels[every])
    return TrainSet(train_images.images, train_images.labels), test, train_images.white


def scaled(raw: Tensor, white: float, pool: int, device: str) -> Tensor:
    """Return raw images with values 0..1, as the published example feeds them; averaged over squares of pixels."""
    return functional.avg_pool2d(raw.to(device).float() / white, pool)


def training_loss(
    run: Run,
    config: MnistConfig,
    model: nn.Module,
    train_set: TrainSet,
    prepare: Prepare,
    clock: TrainingClock,
) -> Loss:
    """Return iteration -> mean cross-entropy of its randomly shifted images."""
    batches = TrainBatches(run, train_set, config.batch)

    @clock.drawn
    def drawn(iteration: int) -> tuple[Tensor, Tensor]:
        shifts = run.torch_generator(f"batch/{iteration}")
        shifted = random_crop(batches(iteration), config.padding, shifts)
        return prepare(shifted), batches.labels(iteration).to(run.device)

    def loss(iteration: int) -> Tensor:
        images, labels = drawn(iteration)
        return functional.cross_entropy(model(images), labels)

    return loss


# -- recording --------------------------------------------------------------------------------------------------


def seen(config: MnistConfig) -> str:
    """Return what the network sees and for how long, for a protocol."""
    side = 28 // config.pool
    return f"{side}x{side}/{config.iterations}-iterations"


def protocol_of_test(config: MnistConfig) -> str:
    """Return how the test error is computed."""
    subset = "10k" if config.test_every == 1 else f"every-{config.test_every}th"
    return f"test-error/{config.data}-test-{subset}/{seen(config)}"


def record_step(run: Run, config: MnistConfig, model: nn.Module, loss: Loss) -> None:
    """Record size and memory of a training step; the memory apart from all timing, the first pass warms up."""
    run.metric(
        "parameters", sum(p.numel() for p in model.parameters() if p.requires_grad), "trainable-scalars"
    )
    peak = step_memory(loss, model.parameters(), run.device, warmup=1)
    run.metric("peak_memory", peak, f"batch-{config.batch}/{seen(config)}/forward-backward-gradients")


def record_evaluations(run: Run, found: Evaluations, solver: Solver) -> None:
    """Record what the evaluations over a training come to."""
    run.metric("nfe_ratio", found.ratio, f"mean-over-training/{solver.protocol}", found.n)
    protocol = f"least-squares/{solver.protocol}"
    run.metric("trend_slope[nfe_forward/iteration]", found.trend, protocol, found.n)


def record_tested(
    run: Run, config: MnistConfig, found: Accuracy, tolerance: float, qualifier: str = ""
) -> None:
    """Record evaluations in a test at a tolerance; the error too, where it has a qualifier and so is no other's."""
    at = Solver("dopri5", tolerance, tolerance).protocol
    key = f"[{qualifier}]" if qualifier else ""
    batches = -(-found.n // TEST_BATCH)
    run.metric(f"nfe_test{key}", found.nfe, f"forward-pass/batch-{TEST_BATCH}/{at}", batches)
    if qualifier:
        run.metric(f"test_error{key}", found.error, f"{protocol_of_test(config)}/{at}", found.n, found.se)
