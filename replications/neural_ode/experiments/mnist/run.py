"""Experiment `neural_ode.mnist`: Table 1 and the evaluations over training of Figure 3 (chen2018neural)."""

from __future__ import annotations

import dataclasses
import statistics

import torch
from torch import Tensor
from torch.nn import functional

from bench.data.images import ImageSet, load, random_crop
from bench.execution.run import Run
from bench.measure.memory import peak_memory
from bench.stats import fit_line
from replications.flows.ode.block import ODEBlock
from replications.flows.training.batches import Batches
from replications.flows.training.log import Log
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.neural_ode.experiments.mnist.declaration import MnistConfig
from replications.neural_ode.method import build, ode_block
from replications.tasks.recording import record_curves

TEST_BATCH = 1000


def run(run: Run, config: MnistConfig) -> None:
    """Train one network, test it, measure one training step's memory."""
    task = Task(run, config)
    counter = task.block.counter if task.block else None
    log = train(run, task.model, task.loss, settings(config), task.test_error, counter=counter)
    record_curves(run, log)
    record_learning(task, log)
    record_cost(task, log)
    if task.block is not None:
        record_evaluations(task, log, task.block)
        record_gradient(task, task.block)
    arguments = {"network": config.network, "gradient": config.gradient, "tolerance": config.tolerance}
    run.save_model("replications.neural_ode.method:build", arguments, task.model.state_dict())


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


class Task:
    """A classifier with its training loss and its test error."""

    def __init__(self, run: Run, config: MnistConfig) -> None:
        self.run, self.config = run, config
        self.train_set, self.test_set = load(config.data, "train"), load(config.data, "test")
        init = run.torch_generator("init")
        self.model = build(config.network, config.gradient, config.tolerance, init).to(run.device)
        self.block = ode_block(self.model)
        self.batches = Batches(run, len(self.train_set.labels), config.batch)

    def loss(self, iteration: int) -> Tensor:
        """Return the mean cross-entropy of an iteration's randomly shifted images."""
        index = self.batches(iteration)
        shifts = self.run.torch_generator(f"batch/{iteration}")
        raw = random_crop(self.train_set.images[index], self.config.padding, shifts)
        logits = self.model(self.scaled(raw, self.train_set))
        return functional.cross_entropy(logits, self.train_set.labels[index].to(self.run.device))

    def scaled(self, raw: Tensor, images: ImageSet) -> Tensor:
        """Return raw images with values 0..1, as the published example feeds them; averaged over pixels."""
        return functional.avg_pool2d(raw.to(self.run.device).float() / images.white, self.config.pool)

    @torch.no_grad()
    def test_error(self) -> float:
        """Return the share of wrongly classified test images, in %."""
        chosen = slice(None, None, self.config.test_every)
        images, labels = self.test_set.images[chosen], self.test_set.labels[chosen]
        wrong = 0
        for raw, expected in zip(images.split(TEST_BATCH), labels.split(TEST_BATCH), strict=True):
            found = self.model(self.scaled(raw, self.test_set)).argmax(1).cpu()
            wrong += int((found != expected).sum())
        return 100 * wrong / len(labels)

    @property
    def test_size(self) -> int:
        """Number of test images used."""
        return len(self.test_set.labels[:: self.config.test_every])

    @property
    def test_protocol(self) -> str:
        """How the test error is computed."""
        every = self.config.test_every
        subset = "10k" if every == 1 else f"every-{every}th"
        return f"test-error/{self.config.data}-test-{subset}/{self.setting}"

    @property
    def setting(self) -> str:
        """What the network sees and for how long."""
        return f"{28 // self.config.pool}x{28 // self.config.pool}/{self.config.iterations}-iterations"


def record_learning(task: Task, log: Log) -> None:
    """Record the test error of the last weights, the training loss and the number of parameters."""
    error, n = log.validations[-1][1], task.test_size
    se = 100 * (error / 100 * (1 - error / 100) / n) ** 0.5
    task.run.metric("test_error", error, task.test_protocol, n, se)
    tail = log.losses[-max(1, len(log.losses) // 10) :]
    task.run.metric(
        "train_loss", statistics.fmean(tail), f"mean/last-tenth-of-training/{task.setting}", len(tail)
    )
    count = sum(p.numel() for p in task.model.parameters() if p.requires_grad)
    task.run.metric("parameters", count, "trainable-scalars")


def record_cost(task: Task, log: Log) -> None:
    """Record time and memory; the memory is that of one more step after training, apart from all timing."""
    step = f"training-step/batch-{task.config.batch}/{task.setting}"
    task.run.metric("iteration_time", log.iteration_time, f"{step}/median", len(log.seconds))
    task.run.metric("train_time", log.train_time, f"training/{len(log.seconds)}-iterations")
    for _ in range(2):  # the first pass warms up; each makes its own gradients, which count
        task.model.zero_grad(set_to_none=True)
        with peak_memory(task.run.device) as peak:
            task.loss(0).backward()
    task.run.metric("peak_memory", peak.bytes, f"{step}/forward-backward-gradients")
    task.model.zero_grad(set_to_none=True)


def record_evaluations(task: Task, log: Log, block: ODEBlock) -> None:
    """Record evaluations of the field over training and in the test, the latter at two tolerances."""
    run, config = task.run, task.config
    solver = block.solver.protocol
    forward, backward = statistics.fmean(log.nfe_forward), statistics.fmean(log.nfe_backward)
    run.metric("nfe_forward", forward, f"mean-over-training/{solver}", len(log.nfe_forward))
    run.metric("nfe_backward", backward, f"mean-over-training/{solver}", len(log.nfe_backward))
    run.metric("nfe_ratio", backward / forward, f"mean-over-training/{solver}", len(log.nfe_forward))
    trend = fit_line(range(len(log.nfe_forward)), log.nfe_forward)
    run.metric("trend_slope[nfe_forward/iteration]", trend.slope, f"least-squares/{solver}", trend.n)
    for qualifier, tolerance in (("[tight]", config.tight_tolerance), ("", config.tolerance)):
        block.solver = dataclasses.replace(block.solver, rtol=tolerance, atol=tolerance)
        block.counter.reset()
        error = task.test_error()
        batches = -(-task.test_size // TEST_BATCH)
        protocol = f"forward-pass/batch-{TEST_BATCH}/{block.solver.protocol}"
        run.metric(f"nfe_test{qualifier}", block.counter.forward_evaluations / batches, protocol, batches)
        if qualifier:
            run.metric(
                "test_error[tight]", error, f"{task.test_protocol}/dopri5-{tolerance:g}", task.test_size
            )


def record_gradient(task: Task, block: ODEBlock) -> None:
    """Record |g - g*| / |g*| on one training batch, g* by backpropagation through the same solve."""
    found, exact = (gradient(task, block, kind) for kind in (task.config.gradient, "backprop"))
    error = float((found - exact).norm() / exact.norm())
    protocol = f"training-batch/batch-{task.config.batch}/{block.solver.protocol}"
    task.run.metric("gradient_error", error, protocol)


def gradient(task: Task, block: ODEBlock, kind: str) -> Tensor:
    """Return the first batch's gradient by all parameters, flat, the block differentiated as `kind` says."""
    block.gradient = kind
    task.model.zero_grad()
    task.loss(0).backward()
    block.gradient = task.config.gradient
    return torch.cat([p.grad.flatten() for p in task.model.parameters() if p.grad is not None])
