"""Run a method of the suite on a task: train, test, record."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.measure.clock import time_repeats
from bench.metrics.memorising import nearest_in_training
from replications.flows.density import evaluate
from replications.flows.density.cnf import CNF
from replications.flows.density.flow import Flow
from replications.suite import data, measured, own, yardsticks
from replications.suite.config import SuiteConfig
from replications.suite.data import Task
from replications.suite.measured import Density
from replications.suite.methods import TEST, ByMatching, Model, build
from replications.suite.settings import SPLINE, YARDSTICKS
from replications.suite.training import counter_of, fit, fit_for
from replications.tasks.recording import record_inversion, record_mean, record_solver_error
from replications.tasks.splits import at_random, held_out, to_train

if TYPE_CHECKING:
    from bench.execution.run import Run

WORK_SETS = 4
"""Of them for each point of a work-precision curve."""
PAIRED = 2000
"""Samples, and test points, that MMD and the classifier compare."""
SAMPLES = 500
"""Samples kept for a picture."""


def run(run: Run, config: SuiteConfig) -> None:
    """Train a method, or fit a yardstick, and record what it is worth on the task's test."""
    task = data.task(run, config)
    model = trained(run, task, config)
    likelihood(run, model, task, config)
    samples(run, model, task, config)
    flow = getattr(model, "flow", None)
    if flow is not None:
        checks(run, flow, task, config)
    if task.mixture is not None and isinstance(model, ByMatching):
        field(run, model, task, config)


def trained(run: Run, task: Task, config: SuiteConfig) -> Density:
    """Return the trained method, or the fitted yardstick, in evaluation mode."""
    if config.method in YARDSTICKS and config.method != SPLINE:
        return yardsticks.fitted(run, config.method, task)
    model = untrained(run, task.dim, config)
    if own.is_own(config.method):
        config = dataclasses.replace(config, iterations=allowed(run, task, config))
    fit(run, model, task, config)
    return model


def allowed(run: Run, task: Task, config: SuiteConfig) -> int:
    """Return how many iterations a caller's own method takes in the budget, by a training that is thrown away."""
    draws = partial(_probes, run)
    trial = untrained(run, task.dim, config)
    return fit_for(config.budget, trial, task, config.learning_rate, draws, at_most=config.at_most).iterations


def _probes(run: Run, iteration: int) -> torch.Generator:
    return run.torch_generator(f"probes/{iteration}")


def untrained(run: Run, dim: int, config: SuiteConfig) -> Model:
    """Return a method whose parameters are drawn from the stream `field`, the same for every method of one network."""
    generator = run.torch_generator("field")
    if own.is_own(config.method):
        mine: Model = own.build(config.method, dim, generator, config.method_sha256)
        return mine
    if config.method == SPLINE:
        return yardsticks.Spline(dim, config.width, generator)
    return build(config.method, dim, config.width, config.strength, generator)


def likelihood(run: Run, model: Density, task: Task, config: SuiteConfig) -> None:
    """Record the NLL of test points, its excess over the truth, and what many log-densities cost."""
    x = held_out(task.test(config.test_points, "test"))
    counter = counter_of(model)
    if counter is not None:
        counter.reset()
    found = measured.scores(model, x, task.log_density)
    protocol = f"exact/{len(x)} test points"
    record_mean(run, "nll", -found.log_p, f"nll/{protocol}")
    if task.bits_per_dim is not None:
        bits = task.bits_per_dim(found.log_p, x)
        record_mean(run, "bits_per_dim", bits, f"nll/{protocol}/levels with uniform noise")
    if counter is not None:
        batches = math.ceil(len(x) / 1000)
        run.metric("nfe_test", counter.forward_evaluations / batches, f"{TEST.protocol}/mean over batches")
    if found.excess is not None:
        record_mean(run, "kl", found.excess, protocol)
    many = held_out(task.test(config.timed, "timing"))
    timing = time_repeats(lambda: measured.scores(model, many, None), device=run.device, warmup=0, repeats=1)
    run.metric("loglik_time", timing.median, f"{len(many)} points/batch 1000")


def samples(run: Run, model: Density, task: Task, config: SuiteConfig) -> None:
    """Record how far sets of samples are from sets of test points, and what many samples cost."""
    sets, n, dim = config.sets, config.set_points, task.dim
    points = held_out(task.test(sets * n, "compared"))
    drawn = model.sample(sets * n, run.torch_generator("samples"))
    both = drawn.reshape(sets, n, dim), points.reshape(sets, n, dim)
    found = measured.compared(*both, run.numpy_generator("c2st"), PAIRED)
    protocol, paired = f"{sets} sets of {n} points", min(PAIRED, sets * n)
    run.metric("debiased_wasserstein2", found.w2, protocol, sets, found.w2_se)
    run.metric("wasserstein2[data against data]", found.floor, f"{protocol}/mean", sets // 2)
    run.metric("mmd", found.mmd, f"squared, unbiased, Gaussian kernel/{paired} points", None, found.mmd_se)
    run.metric("c2st", found.c2st, f"gradient-boosted trees/{paired} points of each", None, found.c2st_se)
    if task.finite:
        memorising(run, drawn, task, config)
    counter = counter_of(model)
    if counter is not None:
        counter.reset()
    timing = time_repeats(
        lambda: model.sample(config.timed, run.torch_generator("timing")),
        device=run.device, warmup=0, repeats=1,
    )  # fmt: skip
    run.metric("sampling_time", timing.median, f"{config.timed} samples at once")
    if counter is not None:
        run.metric(
            "nfe[sampling]", counter.forward_evaluations, f"{TEST.solver.protocol}/{config.timed} samples"
        )
    run.artifact("samples", drawn[:SAMPLES])


def memorising(run: Run, samples: Tensor, task: Task, config: SuiteConfig) -> None:
    """Record whether samples are nearer to training points than to as many test points."""
    n = min(len(task.pool), config.test_points)
    train, test = (
        to_train(at_random(task.pool, n, run.torch_generator("compared with"))),
        held_out(task.test(n, "test")),
    )
    share, se = nearest_in_training(*(part.double().cpu().numpy() for part in (samples, train, test)))
    run.metric("nearest_in_training", share, f"{len(samples)} samples/{n} points of each", len(samples), se)


def field(run: Run, model: ByMatching, task: Task, config: SuiteConfig) -> None:
    """Record how far a learned velocity is from the marginal field of its path, where that is known."""
    assert task.mixture is not None
    x = held_out(task.test(config.test_points, "field"))
    error = measured.field_error(model, task.mixture, x, run.torch_generator("field times"))
    if error is not None:
        run.metric("field_error", error, f"along its own path/{len(x)} points", len(x))


def checks(run: Run, flow: Flow, task: Task, config: SuiteConfig) -> None:
    """Record what solver, inverse and trace estimate get wrong, how straight the paths are, and work against error."""
    x = held_out(task.test(config.checked, "checks"))
    record_solver_error(run, evaluate.solver_error(flow, x, TEST), TEST)
    record_inversion(run, evaluate.inversion_error(flow, x, TEST), TEST.solver.protocol)
    error = measured.trace_error(flow, x, TEST, run.torch_generator("probes"))
    run.metric("trace_error_nll", error, f"one Rademacher probe/{len(x)} points/4 draws", len(x))
    assert isinstance(flow, CNF)
    run.metric("detour", measured.detour(flow, x, TEST, flow.T), TEST.solver.protocol, len(x))
    work(run, flow, x, task)


def work(run: Run, flow: CNF, x: Tensor, task: Task) -> None:
    """Record error of the NLL and debiased W2 against the evaluations of a solve, by method."""
    with evaluate.in_float64(flow):
        tight = evaluate.at_tolerance(TEST, evaluate.REFERENCE_TOLERANCE)
        with torch.no_grad():
            exact = -flow.log_prob(x.double(), integration=tight).mean().item()
    shape = (WORK_SETS, len(x), task.dim)
    points = held_out(task.test(WORK_SETS * len(x), "work")).reshape(shape)
    base = flow.prior.sample(WORK_SETS * len(x), run.torch_generator("work"), dtype=x.dtype, device=x.device)
    for method, integrations in measured.ladder(TEST).items():
        found = measured.work(flow, x, base.reshape(shape), points, integrations, exact)
        finite = [point for point in found if math.isfinite(point.nll_error)]
        for key, label in (("nll_error", "error of the NLL, nats"), ("w2", "debiased W2")):
            values = [getattr(point, key) for point in finite]
            run.curve(f"{key}[{method}]", [p.nfe for p in finite], values, "evaluations of a solve", label)
