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
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.data import images
from bench.measure.memory import peak_memory
from bench.stats import fit_line
from replications.flows.fields.mlp import MlpField, initialise
from replications.flows.ode.block import ODEBlock
from replications.flows.ode.solve import Solver
from replications.flows.training.batches import Batches
from replications.flows.training.log import Log
from replications.flows.training.loop import train
from replications.flows.training.settings import Training

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.lecture.experiments.mnist.declaration import ClassifierConfig

DIM, ENCODER_WIDTH, FIELD_WIDTH, CLASSES = 64, 128, 64, 10
TEST_BATCH = 1000
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
        field = MlpField(DIM, (FIELD_WIDTH,), generator, time="augmented")
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


def split(name: str, part: str, device: str) -> tuple[Tensor, Tensor]:
    """Return the normalised images `(N, P)` and labels `(N,)` of a data set's part, on a device."""
    data = images.load(name, part)
    return data.normalised().flatten(1).to(device), data.labels.to(device)


def run(run: Run, config: ClassifierConfig) -> None:
    """Train the classifier, test it, measure its cost; records metrics, curves and the model."""
    x, y = split(config.data, "train", run.device)
    arguments: dict[str, Any] = {
        "inputs": x.shape[1],
        "rtol": config.rtol,
        "atol": config.atol,
        "gradient": config.gradient,
        "integration_time": config.integration_time,
    }
    model = build(**arguments, seed=run.seed("parameters")).to(run.device)
    test = split(config.data, "test", run.device)
    fit(run, config, model, (x, y), test)
    report_test(run, model, test, Solver("dopri5", rtol=config.rtol, atol=config.atol), "")
    report_test(run, model, test, EVALUATION, "[1e-5]")
    report_memory(run, config, model, (x[: config.batch], y[: config.batch]))
    run.save_model("replications.lecture.experiments.mnist.run:build", arguments, model.state_dict())


def fit(
    run: Run,
    config: ClassifierConfig,
    model: Classifier,
    data: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
) -> None:
    """Train with Adam on the cross-entropy; record losses, accuracies, NFE and time."""
    x, y = data
    batches = Batches(run, len(x), config.batch)
    trained = Trained(model, config.epochs)
    iterations = config.epochs * batches.per_epoch
    iterations = min(iterations, config.max_iterations or iterations)

    def loss(iteration: int) -> Tensor:
        chosen = batches(iteration).to(x.device)
        logits, labels = model(x[chosen]), y[chosen]
        trained.correct[iteration // batches.per_epoch] += (logits.detach().argmax(1) == labels).sum()
        return functional.cross_entropy(logits, labels)

    settings = Training(iterations, config.learning_rate, validate_every=batches.per_epoch)
    log = train(
        run, trained, loss, settings, lambda: 100 - accuracy(model, *test)[0], counter=model.block.counter
    )
    report_training(run, config, model.block.solver, log, batches.per_epoch)
    if iterations == config.epochs * batches.per_epoch:
        percent = 100 * trained.correct.double() / len(x)
        run.curve("train_accuracy", range(1, config.epochs + 1), percent.tolist(), "epoch", "accuracy (%)")
    run.metric("parameters", sum(p.numel() for p in model.parameters()), "trainable")


def report_training(run: Run, config: ClassifierConfig, solver: Solver, log: Log, per_epoch: int) -> None:
    """Record a training's log by epoch: mean loss, NFE forward and backward, test accuracy, times."""
    protocol = f"{config.gradient}/{solver.protocol}/batch-{config.batch}"
    epochs = [slice(i, min(i + per_epoch, len(log.losses))) for i in range(0, len(log.losses), per_epoch)]
    last, numbers = epochs[-1], range(1, len(epochs) + 1)
    for key, series, label in (
        ("train_loss", log.losses, "cross-entropy (nats)"),
        ("nfe_forward", log.nfe_forward, "evaluations"),
        ("nfe_backward", log.nfe_backward, "evaluations"),
    ):
        run.curve(key, numbers, [statistics.fmean(series[part]) for part in epochs], "epoch", label)
        run.metric(
            key, statistics.fmean(series[last]), f"mean of the last epoch/{protocol}", n=len(series[last])
        )
    ends, errors = zip(*log.validations, strict=True)
    percent = [100 - error for error in errors]
    run.curve("test_accuracy", [end / per_epoch for end in ends], percent, "epoch", "accuracy (%)")
    run.metric("iteration_time", log.iteration_time, f"median/{protocol}", n=len(log.seconds))
    run.metric("train_time", log.train_time, protocol)


def with_solver(model: Classifier, solver: Solver, gradient: str) -> Classifier:
    """Return a copy of a classifier that integrates in another way."""
    other = copy.deepcopy(model)
    other.block.solver, other.block.gradient = solver, gradient
    return other


@torch.no_grad()
def accuracy(model: Classifier, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return the share classified rightly, in percent, and the mean NFE of a batch's forward pass."""
    counter = model.block.counter
    counter.reset()
    parts = x.split(TEST_BATCH)
    right = sum(
        (model(part).argmax(1) == labels).sum().item() for part, labels in zip(parts, y.split(TEST_BATCH))
    )
    return 100 * right / len(x), counter.forward_evaluations / len(parts)


def report_test(
    run: Run, model: Classifier, test: tuple[Tensor, Tensor], solver: Solver, qualifier: str
) -> None:
    """Record accuracy, error and NFE on the test set with a solver."""
    percent, nfe = accuracy(with_solver(model, solver, "backprop"), *test)
    protocol = f"{solver.protocol}/batch-{TEST_BATCH}"
    n = len(test[0])
    se = (percent * (100 - percent) / n) ** 0.5
    run.metric(f"test_accuracy{qualifier}", percent, protocol, n=n, se=se)
    run.metric(f"test_error{qualifier}", 100 - percent, protocol, n=n, se=se)
    run.metric(f"nfe_test{qualifier}", nfe, protocol)


def report_memory(
    run: Run, config: ClassifierConfig, model: Classifier, batch: tuple[Tensor, Tensor]
) -> None:
    """Record a training step's peak memory: as trained, and its growth with the number of Euler steps."""
    what = f"forward+backward/batch-{len(batch[0])}"
    run.metric("peak_memory", step_memory(model, batch, run.device), what)
    for gradient in ("adjoint", "backprop", "checkpoint"):
        peaks = [
            step_memory(with_solver(model, Solver("euler", steps=n), gradient), batch, run.device)
            for n in config.memory_steps
        ]
        run.curve(f"memory[{gradient}]", config.memory_steps, peaks, "Euler steps", "peak memory (bytes)")
        slope = fit_line(config.memory_steps, peaks).slope
        run.metric(f"memory_slope[{gradient}]", slope, f"euler/{what}", n=len(peaks))


def step_memory(model: nn.Module, batch: tuple[Tensor, Tensor], device: Any) -> int:
    """Return the peak bytes of one loss and gradient."""
    x, y = batch

    def step() -> None:
        model.zero_grad(set_to_none=True)
        functional.cross_entropy(model(x), y).backward()

    step()  # what is allocated once and kept is no part of a step's peak
    model.zero_grad(set_to_none=True)
    with peak_memory(device) as peak:
        step()
    return peak.bytes
