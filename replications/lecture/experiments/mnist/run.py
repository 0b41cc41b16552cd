"""Experiment `lecture.mnist`: train the lecture's classifier, test it, measure its cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.data import images
from bench.stats import fit_line
from replications.flows.ode.solve import Solver
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.lecture.experiments.mnist.classifier import Classifier, build
from replications.lecture.experiments.mnist.measured import (
    Epochs,
    by_epoch,
    classified_by,
    memory_by_steps,
    peak_of_step,
)
from replications.tasks.classification import TEST_BATCH, Accuracy, accuracy, record_accuracy
from replications.tasks.recording import record_training
from replications.tasks.splits import TestSet, TrainBatches, TrainSet, first
from replications.tasks.training import training_clock

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.lecture.experiments.mnist.declaration import ClassifierConfig

BUILDER = "replications.lecture.experiments.mnist.classifier:build"
EVALUATION = Solver("dopri5", rtol=1e-5, atol=1e-6)
"""What the lecture advises for evaluation."""
GRADIENTS = ("adjoint", "backprop", "checkpoint")
"""Whose memory is measured against the number of steps."""


def run(run: Run, config: ClassifierConfig) -> None:
    """Train the classifier, test it, measure its cost; record metrics, curves and the model."""
    train_set, test = images_of(run, config)
    arguments: dict[str, Any] = {
        "inputs": train_set.points.shape[1],
        "rtol": config.rtol,
        "atol": config.atol,
        "gradient": config.gradient,
        "integration_time": config.integration_time,
    }
    model = build(**arguments, seed=run.seed("parameters")).to(run.device)
    fit(run, config, model, train_set, test)
    run.metric("parameters", sum(p.numel() for p in model.parameters()), "trainable")
    own = Solver("dopri5", rtol=config.rtol, atol=config.atol)
    for solver, qualifier in ((own, ""), (EVALUATION, "1e-5")):
        record_test(run, classified_by(model, test, solver), solver, qualifier)
    batch = first(train_set, config.batch)
    protocol = f"forward+backward/batch-{len(batch)}"
    run.metric("peak_memory", peak_of_step(model, batch, run.device), protocol)
    for gradient in GRADIENTS:
        peaks = memory_by_steps(model, batch, gradient, config.memory_steps, run.device)
        record_growth(run, gradient, config.memory_steps, peaks, protocol)
    run.save_model(BUILDER, arguments, model.state_dict())


def images_of(run: Run, config: ClassifierConfig) -> tuple[TrainSet, TestSet]:
    """Return the normalised images `(N, P)` with labels `(N,)` to train and to test on, on the run's device."""
    train, test = (images.load(config.data, part) for part in ("train", "test"))

    def points(part: images.ImageSet) -> tuple[Tensor, Tensor]:
        return part.normalised().flatten(1).to(run.device), part.labels.to(run.device)

    return TrainSet(*points(train)), TestSet(*points(test))


class Trained(nn.Module):
    """A classifier with what its training counts: a buffer survives an interruption as the weights do.

    Attributes:
        correct: `(epochs,)`, training images classified rightly as they came by, with the weights of then.
    """

    correct: Tensor

    def __init__(self, model: Classifier, epochs: int) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("correct", torch.zeros(epochs, dtype=torch.long))


def fit(run: Run, config: ClassifierConfig, model: Classifier, train_set: TrainSet, test: TestSet) -> None:
    """Train with Adam on the cross-entropy; record losses, accuracies, NFE and time."""
    batches, clock = TrainBatches(run, train_set, config.batch), training_clock(run)
    trained = Trained(model, config.epochs)
    iterations = config.epochs * batches.per_epoch
    iterations = min(iterations, config.max_iterations or iterations)

    @clock.drawn
    def drawn(iteration: int) -> tuple[Tensor, Tensor]:
        return batches(iteration), batches.labels(iteration)

    def loss(iteration: int) -> Tensor:
        images, labels = drawn(iteration)
        logits = model(images)
        trained.correct[iteration // batches.per_epoch] += (logits.detach().argmax(1) == labels).sum()
        return functional.cross_entropy(logits, labels)

    def error() -> float:
        return accuracy(model, test, counter=model.block.counter).error

    settings = Training(iterations, config.learning_rate, validate_every=batches.per_epoch)
    log = train(run, trained, loss, settings, error, counter=model.block.counter, clock=clock)
    protocol = f"{config.gradient}/{model.block.solver.protocol}/batch-{config.batch}"
    record_training(run, log, protocol, (iterations - 1) % batches.per_epoch + 1, batches.sizes)
    record_epochs(run, by_epoch(log, batches.sizes), protocol)
    if iterations == config.epochs * batches.per_epoch:
        percent = 100 * trained.correct.double() / len(train_set)
        run.curve("train_accuracy", range(1, config.epochs + 1), percent.tolist(), "epoch", "accuracy (%)")


# -- recording --------------------------------------------------------------------------------------------------


def record_epochs(run: Run, found: Epochs, protocol: str) -> None:
    """Record mean loss and NFE of each epoch and the test accuracy after it.

    `train_loss` becomes the mean loss of the last epoch over its images, where a smaller last batch weighs less.
    """
    numbers = range(1, len(found.losses) + 1)
    run.curve("train_loss", numbers, found.losses, "epoch", "cross-entropy (nats)")
    run.metric("train_loss", found.losses[-1], f"mean over the images of the last epoch/{protocol}")
    run.curve("nfe_forward", numbers, found.nfe_forward, "epoch", "evaluations")
    run.curve("nfe_backward", numbers, found.nfe_backward, "epoch", "evaluations")
    run.curve("test_accuracy", found.tested_after, found.accuracy, "epoch", "accuracy (%)")


def record_test(run: Run, found: Accuracy, solver: Solver, qualifier: str) -> None:
    """Record accuracy, error and NFE on the test set with a solver."""
    protocol = f"{solver.protocol}/batch-{TEST_BATCH}"
    record_accuracy(run, found, protocol, qualifier)
    run.metric(f"nfe_test[{qualifier}]" if qualifier else "nfe_test", found.nfe, protocol)


def record_growth(run: Run, gradient: str, steps: tuple[int, ...], peaks: list[int], protocol: str) -> None:
    """Record a training step's peak memory against the number of Euler steps, and its growth by a step."""
    run.curve(f"memory[{gradient}]", steps, peaks, "Euler steps", "peak memory (bytes)")
    run.metric(f"memory_slope[{gradient}]", fit_line(steps, peaks).slope, f"euler/{protocol}", n=len(peaks))
