"""The lecture's classifier: a dense encoder, an ODE block, a linear read-out.

| in the lecture | here                | shape     | equation                                        |
|----------------|---------------------|-----------|-------------------------------------------------|
| `downsample`   | `Classifier.encode` | `(B, 64)` | W_2 relu(W_1 x + b_1) + b_2, 128 hidden         |
| `ODEFunc`      | `MlpField`          | `(B, 64)` | f(t, h) = V_2 tanh(V_1 h + c_1) + c_2 + a t + c |
| `ODEBlock`     | `ODEBlock`          | `(B, 64)` | h(T) = h(0) + int_0^T f(t, h) dt                |
| `classifier`   | `Classifier.read`   | `(B, 10)` | logits                                          |
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.data import images
from bench.stats import fit_line
from replications.flows.fields.mlp import MlpField, initialise
from replications.flows.ode.block import ODEBlock
from replications.flows.ode.solve import Solver
from replications.flows.training.log import Log
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.tasks.classification import TEST_BATCH, Accuracy, accuracy, record_accuracy
from replications.tasks.cost import step_memory
from replications.tasks.recording import record_training
from replications.tasks.splits import TestSet, TrainBatches, TrainSet, first

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.lecture.experiments.mnist.declaration import ClassifierConfig

DIM, ENCODER_WIDTH, FIELD_WIDTH, CLASSES = 64, 128, 64, 10
EVALUATION = Solver("dopri5", rtol=1e-5, atol=1e-6)
"""What the lecture advises for evaluation."""


class Classifier(nn.Module):
    """The lecture's `NeuralODEClassifier`.

    Args:
        inputs: P, pixels an image.
        solver: of the ODE block.
        gradient: of the ODE block.
        integration_time: T.
        generator: draws the initial parameters (torch's default distributions).
    """

    def __init__(
        self, inputs: int, solver: Solver, gradient: str, integration_time: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Linear(inputs, ENCODER_WIDTH), nn.ReLU(), nn.Linear(ENCODER_WIDTH, DIM)
        )
        initialise(self.encode, generator)
        field = MlpField(DIM, (FIELD_WIDTH,), generator, time="output")
        self.block = ODEBlock(field, solver, gradient, t1=integration_time)
        self.read = nn.Linear(DIM, CLASSES)
        initialise(self.read, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `(B, 10)` of images `(B, P)`."""
        logits: Tensor = self.read(self.block(self.encode(x)))
        return logits


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


def build(
    inputs: int, rtol: float, atol: float, gradient: str, integration_time: float, seed: int = 0
) -> Classifier:
    """Return an untrained classifier; what `bench.load` calls."""
    generator = torch.Generator().manual_seed(seed)
    return Classifier(inputs, Solver("dopri5", rtol=rtol, atol=atol), gradient, integration_time, generator)


def run(run: Run, config: ClassifierConfig) -> None:
    """Train the classifier, test it, measure its cost; records metrics, curves and the model."""
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
    for solver, qualifier in (
        (Solver("dopri5", rtol=config.rtol, atol=config.atol), ""),
        (EVALUATION, "1e-5"),
    ):
        report_test(run, classified_by(model, test, solver), solver, qualifier)
    report_memory(run, config, model, train_set)
    run.save_model("replications.lecture.experiments.mnist.run:build", arguments, model.state_dict())


def images_of(run: Run, config: ClassifierConfig) -> tuple[TrainSet, TestSet]:
    """Return the normalised images `(N, P)` with labels `(N,)` to train and to test on, on the run's device."""
    train, test = (images.load(config.data, part) for part in ("train", "test"))

    def points(part: images.ImageSet) -> tuple[Tensor, Tensor]:
        return part.normalised().flatten(1).to(run.device), part.labels.to(run.device)

    return TrainSet(*points(train)), TestSet(*points(test))


def fit(run: Run, config: ClassifierConfig, model: Classifier, train_set: TrainSet, test: TestSet) -> None:
    """Train with Adam on the cross-entropy; record losses, accuracies, NFE and time."""
    batches = TrainBatches(run, train_set, config.batch)
    trained = Trained(model, config.epochs)
    iterations = config.epochs * batches.per_epoch
    iterations = min(iterations, config.max_iterations or iterations)

    def loss(iteration: int) -> Tensor:
        logits, labels = model(batches(iteration)), batches.labels(iteration)
        trained.correct[iteration // batches.per_epoch] += (logits.detach().argmax(1) == labels).sum()
        return functional.cross_entropy(logits, labels)

    settings = Training(iterations, config.learning_rate, validate_every=batches.per_epoch)
    counter = model.block.counter
    log = train(
        run, trained, loss, settings, lambda: accuracy(model, test, counter=counter).error, counter=counter
    )
    protocol = f"{config.gradient}/{model.block.solver.protocol}/batch-{config.batch}"
    record_training(run, log, protocol, last=(iterations - 1) % batches.per_epoch + 1)
    record_by_epoch(run, log, protocol, batches.per_epoch, batches.sizes)
    if iterations == config.epochs * batches.per_epoch:
        percent = 100 * trained.correct.double() / len(train_set)
        run.curve("train_accuracy", range(1, config.epochs + 1), percent.tolist(), "epoch", "accuracy (%)")
    run.metric("parameters", sum(p.numel() for p in model.parameters()), "trainable")


def record_by_epoch(run: Run, log: Log, protocol: str, per_epoch: int, sizes: Sequence[int]) -> None:
    """Record mean loss and NFE of each epoch, and the test accuracy after it; `train_loss` is that of the last.

    A mean loss is over the images: the last batch of an epoch, which may be smaller, weighs less.
    """
    epochs = [slice(i, i + per_epoch) for i in range(0, len(log.losses), per_epoch)]
    numbers = range(1, len(epochs) + 1)
    losses = [weighted_mean(log.losses[part], sizes) for part in epochs]
    run.curve("train_loss", numbers, losses, "epoch", "cross-entropy (nats)")
    run.metric("train_loss", losses[-1], f"mean over the images of the last epoch/{protocol}")
    for key, series in (("nfe_forward", log.nfe_forward), ("nfe_backward", log.nfe_backward)):
        run.curve(key, numbers, [statistics.fmean(series[part]) for part in epochs], "epoch", "evaluations")
    ends, errors = zip(*log.validations, strict=True)
    percent = [100 - error for error in errors]
    run.curve("test_accuracy", [end / per_epoch for end in ends], percent, "epoch", "accuracy (%)")


def weighted_mean(values: Sequence[float], sizes: Sequence[int]) -> float:
    """Return sum_i n_i v_i / sum_i n_i over batches of n_i points with the means v_i; there may be fewer values."""
    return statistics.fmean(values, sizes[: len(values)])


def with_solver(model: Classifier, solver: Solver, gradient: str) -> Classifier:
    """Return a copy of a classifier that integrates in another way."""
    other = copy.deepcopy(model)
    other.block.solver, other.block.gradient = solver, gradient
    return other


def classified_by(model: Classifier, test: TestSet, solver: Solver) -> Accuracy:
    """Return how well a trained classifier does with a solver."""
    other = with_solver(model, solver, "backprop")
    return accuracy(other, test, counter=other.block.counter)


def report_test(run: Run, found: Accuracy, solver: Solver, qualifier: str) -> None:
    """Record accuracy, error and NFE on the test set with a solver."""
    protocol = f"{solver.protocol}/batch-{TEST_BATCH}"
    record_accuracy(run, found, protocol, qualifier)
    run.metric(f"nfe_test[{qualifier}]" if qualifier else "nfe_test", found.nfe, protocol)


def report_memory(run: Run, config: ClassifierConfig, model: Classifier, train_set: TrainSet) -> None:
    """Record a training step's peak memory: as trained, and its growth with the number of Euler steps."""
    batch = first(train_set, config.batch)
    protocol = f"forward+backward/batch-{len(batch)}"
    run.metric("peak_memory", peak_of_step(model, batch, run.device), protocol)
    for gradient in ("adjoint", "backprop", "checkpoint"):
        peaks = [
            peak_of_step(with_solver(model, Solver("euler", steps=n), gradient), batch, run.device)
            for n in config.memory_steps
        ]
        run.curve(f"memory[{gradient}]", config.memory_steps, peaks, "Euler steps", "peak memory (bytes)")
        slope = fit_line(config.memory_steps, peaks).slope
        run.metric(f"memory_slope[{gradient}]", slope, f"euler/{protocol}", n=len(peaks))


def peak_of_step(model: nn.Module, batch: TrainSet, device: str) -> int:
    """Return the peak bytes of one loss and gradient; what is allocated once and kept is no part of it."""

    def loss(_: int) -> Tensor:
        return functional.cross_entropy(model(batch.points), cast(Tensor, batch.labels))

    step_memory(loss, model.parameters(), device)
    return step_memory(loss, model.parameters(), device)
