"""Experiment `neural_ode.mnist`: Table 1 and the evaluations over training of Figure 3 (chen2018neural)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional

from bench.data.images import load, random_crop
from bench.execution.run import Run
from bench.stats import fit_line
from replications.flows.ode.block import ODEBlock
from replications.flows.ode.solver import Solver
from replications.flows.training.log import Log
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.neural_ode.experiments.mnist.declaration import MnistConfig
from replications.neural_ode.method import build, ode_block
from replications.tasks.classification import TEST_BATCH, Accuracy, accuracy, record_accuracy
from replications.tasks.cost import step_memory
from replications.tasks.recording import record_training
from replications.tasks.splits import TestSet, TrainBatches, TrainSet


def run(run: Run, config: MnistConfig) -> None:
    """Train one network, test it, measure one training step's memory."""
    task = Classification(run, config)
    counter = task.ode_block.counter if task.ode_block else None
    log = train(run, task.model, task.loss, settings(config), lambda: task.test().error, counter=counter)
    record_training(run, log, f"{task.setting}/batch-{config.batch}")
    run.metric(
        "parameters", sum(p.numel() for p in task.model.parameters() if p.requires_grad), "trainable-scalars"
    )
    run.metric(
        "peak_memory", peak_of_step(task), f"batch-{config.batch}/{task.setting}/forward-backward-gradients"
    )
    record_accuracy(run, task.test(), task.test_protocol)
    if task.ode_block is not None:
        record_evaluations(task, log, task.ode_block)
        error = gradient_error(task, task.ode_block)
        run.metric(
            "gradient_error", error, f"training-batch/batch-{config.batch}/{task.ode_block.solver.protocol}"
        )
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


class Classification:
    """A classifier with its training loss and its test."""

    def __init__(self, run: Run, config: MnistConfig) -> None:
        self.run, self.config = run, config
        train_images, test_images = load(config.data, "train"), load(config.data, "test")
        every = slice(None, None, config.test_every)
        self.white = train_images.white
        self.train_set = TrainSet(train_images.images, train_images.labels)
        self.test_set = TestSet(test_images.images[every], test_images.labels[every])
        init = run.torch_generator("init")
        self.model = build(config.network, config.gradient, config.tolerance, init).to(run.device)
        self.ode_block = ode_block(self.model)
        self.batches = TrainBatches(run, self.train_set, config.batch)

    def loss(self, iteration: int) -> Tensor:
        """Return the mean cross-entropy of an iteration's randomly shifted images."""
        shifts = self.run.torch_generator(f"batch/{iteration}")
        raw = random_crop(self.batches(iteration), self.config.padding, shifts)
        labels = self.batches.labels(iteration).to(self.run.device)
        return functional.cross_entropy(self.model(self.scaled(raw)), labels)

    def scaled(self, raw: Tensor) -> Tensor:
        """Return raw images with values 0..1, as the published example feeds them; averaged over pixels."""
        return functional.avg_pool2d(raw.to(self.run.device).float() / self.white, self.config.pool)

    def test(self) -> Accuracy:
        """Return how well the network does on the test images."""
        counter = self.ode_block.counter if self.ode_block else None
        return accuracy(self.model, self.test_set, self.scaled, counter)

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


def peak_of_step(task: Classification) -> int:
    """Return the peak memory of a training step in bytes, measured after the training, apart from all timing.

    The first pass warms up; each makes its own gradients, which count.
    """
    step_memory(task.loss, task.model.parameters(), task.run.device)
    peak = step_memory(task.loss, task.model.parameters(), task.run.device)
    task.model.zero_grad(set_to_none=True)
    return peak


def record_evaluations(task: Classification, log: Log, block: ODEBlock) -> None:
    """Record evaluations of the field over training, and in the test at two tolerances, the training's last."""
    run, config = task.run, task.config
    solver, n = block.solver.protocol, len(log.nfe_forward)
    run.metric("nfe_ratio", sum(log.nfe_backward) / sum(log.nfe_forward), f"mean-over-training/{solver}", n)
    trend = fit_line(range(n), log.nfe_forward)
    run.metric("trend_slope[nfe_forward/iteration]", trend.slope, f"least-squares/{solver}", trend.n)
    for qualifier, tolerance in (("[tight]", config.tight_tolerance), ("", config.tolerance)):
        found, at = classified_at(task, block, tolerance), Solver("dopri5", tolerance, tolerance).protocol
        batches = -(-found.n // TEST_BATCH)
        run.metric(f"nfe_test{qualifier}", found.nfe, f"forward-pass/batch-{TEST_BATCH}/{at}", batches)
        if qualifier:
            run.metric("test_error[tight]", found.error, f"{task.test_protocol}/{at}", found.n, found.se)


def classified_at(task: Classification, block: ODEBlock, tolerance: float) -> Accuracy:
    """Return how well the network does where its block is solved at rtol = atol = tolerance."""
    kept = block.solver
    block.solver = dataclasses.replace(kept, rtol=tolerance, atol=tolerance)
    found = task.test()
    block.solver = kept
    return found


def gradient_error(task: Classification, block: ODEBlock) -> float:
    """Return |g - g*| / |g*| on one training batch, g* by backpropagation through the same solve."""
    found, exact = (gradient(task, block, kind) for kind in (task.config.gradient, "backprop"))
    return float((found - exact).norm() / exact.norm())


def gradient(task: Classification, block: ODEBlock, kind: str) -> Tensor:
    """Return the first batch's gradient by all parameters, flat, the block differentiated as `kind` says."""
    block.gradient = kind
    task.model.zero_grad()
    task.loss(0).backward()
    block.gradient = task.config.gradient
    return torch.cat([p.grad.flatten() for p in task.model.parameters() if p.grad is not None])
