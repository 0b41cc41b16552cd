"""What every training of a flow reports: training, likelihood, inversion, solver error, regularity, memory.

| quantity | metric | equation |
|---|---|---|
| test NLL | `nll` | -1/N sum_n log p(x_n), nats |
| the same in bits | `bits_per_dim` | nll / (D log 2) |
| error of the solver | `nll_error` | abs(nll - nll*), nll* at a far smaller tolerance, on the same points |
| error of the inverse | `inversion_error` | 1/N sum_n abs(x_n - T^-1(T(x_n))), Euclidean |
| kinetic energy | `kinetic_energy` | 1/N sum_n integral of abs(f)^2 dt |
| Jacobian | `jacobian_norm` | 1/N sum_n integral of abs(df/dx)_F^2 dt |
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from bench.execution.worker import Run
from bench.measure.clock import synchronize, time_repeats
from bench.measure.memory import peak_memory
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.training.log import Log, blocks

REGULARITY = ("kinetic_sum", "jacobian_sum")


def training(run: Run, log: Log, protocol: str) -> None:
    """Record what training cost: evaluations, times, loss, and their curves.

    NFE is the mean over all iterations; `nfe_forward[end]` and `train_loss` that of the last tenth.
    """
    curves(run, log)
    n = len(log.losses)
    last = max(1, n // 10)
    run.metric("train_loss", statistics.fmean(log.losses[-last:]), f"{protocol}/last {last} iterations")
    run.metric("nfe_forward", statistics.fmean(log.nfe_forward), f"{protocol}/mean", n)
    run.metric(
        "nfe_forward[end]",
        statistics.fmean(log.nfe_forward[-last:]),
        f"{protocol}/last {last} iterations",
        last,
    )
    run.metric("nfe_backward", statistics.fmean(log.nfe_backward), f"{protocol}/mean", n)
    run.metric("iteration_time", log.iteration_time, f"{protocol}/median", n)
    run.metric("train_time", log.train_time, protocol)
    evaluations = sum(log.nfe_forward) + sum(log.nfe_backward)
    run.metric("evaluation_time", log.train_time / evaluations, f"{protocol}/train_time over evaluations")


def curves(run: Run, log: Log) -> None:
    """Record the curves loss, validation, nfe_forward and nfe_backward against the iteration.

    A long series is shortened to means over equal blocks of iterations; see `blocks`.
    """
    for key, values in (
        ("loss", log.losses),
        ("nfe_forward", log.nfe_forward),
        ("nfe_backward", log.nfe_backward),
    ):
        if values:
            x, y = blocks(values)
            run.curve(key, x, y, x_label="iteration", y_label=key.replace("_", " "))
    if log.validations:
        done, values = zip(*log.validations)
        run.curve("validation", done, values, x_label="iteration", y_label="validation")


@torch.no_grad()
def likelihood(
    run: Run,
    flow: Flow,
    x: Tensor,
    integration: Integration,
    batch: int = 1000,
    generator: torch.Generator | None = None,
    qualifier: str = "",
) -> Tensor:
    """Record the NLL of test points, its cost and standard error; return -log p of each, `(N,)`, in float64.

    Args:
        run: where to.
        flow: in evaluation mode.
        x: test points `(N, *S)`.
        integration: `exact` divergence for an exact likelihood; it names the protocol.
        batch: points solved together; they share their steps.
        generator: of the probes of an estimate.
        qualifier: distinguishes several of one run, as in `nll[validation]`.
    """
    flow.counted.reset()
    synchronize(run.device)
    start = time.perf_counter()
    parts = x.split(batch)
    nll = -torch.cat([flow.log_prob(part, generator=generator, integration=integration) for part in parts])
    synchronize(run.device)
    seconds = time.perf_counter() - start
    nll = nll.double().cpu()
    mean, se = nll.mean().item(), nll.std().item() / math.sqrt(len(nll))
    key, protocol = f"[{qualifier}]" if qualifier else "", f"{integration.protocol}/batch {batch}"
    bits = math.log(2) * math.prod(x.shape[1:])
    run.metric(f"nll{key}", mean, f"nll/{protocol}", len(nll), se)
    run.metric(f"bits_per_dim{key}", mean / bits, f"nll/{protocol}", len(nll), se / bits)
    run.metric(
        f"nfe_test{key}", flow.counted.forward_evaluations / len(parts), f"{protocol}/mean over batches"
    )
    run.metric(f"loglik_time{key}", seconds, f"{protocol}/{len(nll)} points")
    return nll


@torch.no_grad()
def solver_error(
    run: Run,
    flow: Flow,
    x: Tensor,
    integration: Integration,
    eps: Tensor | None = None,
    tolerance: float = 1e-8,
) -> None:
    """Record what solver and float32 get wrong of the NLL of some points, against float64 solved to 1e-8."""
    tight = at_tolerance(integration, tolerance)
    loose = flow.log_prob(x, eps, integration=integration).double()
    with in_float64(flow):
        exact = flow.log_prob(x.double(), None if eps is None else eps.double(), integration=tight)
    protocol = f"{integration.protocol} against {tight.solver.protocol} in float64"
    run.metric("nll_error", (loose.mean() - exact.mean()).abs().item(), protocol, len(x))
    run.metric(
        "nll_error[largest]", (loose - exact).abs().max().item(), f"{protocol}/largest of a point", len(x)
    )


@torch.no_grad()
def inversion(run: Run, flow: Flow, x: Tensor, integration: Integration) -> None:
    """Record the mean Euclidean distance of points from where decoding their code leads."""
    distance = (flow.decode(flow.encode(x, integration), integration) - x).flatten(1).double().norm(dim=1)
    run.metric("inversion_error", distance.mean().item(), f"{integration.solver.protocol}/Euclidean", len(x))


@torch.no_grad()
def regularity(
    run: Run, flow: Flow, x: Tensor, integration: Integration, generator: torch.Generator | None = None
) -> None:
    """Record the summed kinetic energy and Jacobian norm along the paths of some points."""
    integration = dataclasses.replace(integration, regularizers=REGULARITY)
    path = flow.path(x, generator=generator, integration=integration)
    for name, key in zip(("kinetic_energy", "jacobian_norm"), REGULARITY):
        run.metric(name, path.integrals[key].mean().item(), integration.protocol, len(x))


def checks(run: Run, flow: Flow, x: Tensor, integration: Integration) -> None:
    """Record the error of the solver, of the inverse, and the regularity, on some points, with the exact divergence."""
    solver_error(run, flow, x, integration)
    inversion(run, flow, x, integration)
    regularity(run, flow, x, integration)


def end_time(run: Run, flow: Flow) -> None:
    """Record the learned end time T, the mean over blocks; nothing where it is given."""
    ends = [value for name, value in flow.state_dict().items() if name.endswith("root_T")]
    if ends:
        run.metric("end_time", torch.stack(ends).square().mean().item(), "after training/mean over blocks")


def cost(
    run: Run,
    flow: Flow,
    step: Callable[[int], Tensor],
    plain: Callable[[int], Tensor] | None,
    repeats: int,
    protocol: str,
) -> None:
    """Record a training step's peak memory, and its added time over a plain step's, in turns on the same weights.

    Args:
        run: where to.
        flow: whose gradient is taken.
        step: iteration -> loss, as in training.
        plain: the same for the method it is compared with; None where there is nothing to compare.
        repeats: timed steps of each, on the first batches.
        protocol: of the training.
    """
    memory(run, lambda: step(0).backward(), flow.parameters(), protocol)
    if plain is None:
        return
    steps, evaluations = [], []
    for i in range(repeats):
        (seconds, n), (seconds_plain, n_plain) = (_timed(run, flow, one, i) for one in (step, plain))
        steps.append(100 * (seconds / seconds_plain - 1))
        evaluations.append(100 * (seconds / n / (seconds_plain / n_plain) - 1))
    told = f"{protocol}/median over {repeats} steps of each in turn, trained weights"
    run.metric("overhead[step]", statistics.median(steps), told, repeats)
    run.metric("overhead[evaluation]", statistics.median(evaluations), f"{told}, time an evaluation", repeats)


def _timed(run: Run, flow: Flow, step: Callable[[int], Tensor], iteration: int) -> tuple[float, int]:
    """Return the time of a step's loss and gradient, and its evaluations."""
    flow.counted.reset()
    timing = time_repeats(partial(_back, step, iteration), device=run.device, warmup=0, repeats=1)
    return timing.median, flow.counted.forward_evaluations + flow.counted.backward_evaluations


def _back(step: Callable[[int], Tensor], iteration: int) -> None:
    step(iteration).backward()


def without_training(integration: Integration) -> Integration:
    """Return the same integration without what belongs to training alone: regularizers, random end time."""
    return dataclasses.replace(integration, regularizers=(), spread=0.0)


@contextmanager
def in_float64(flow: Flow) -> Iterator[None]:
    """Hold a flow's parameters in float64 for a while."""
    kept = next(flow.parameters()).dtype
    flow.double()
    yield
    flow.to(kept)


def at_tolerance(integration: Integration, tolerance: float) -> Integration:
    """Return the same integration at rtol = atol = tolerance."""
    return dataclasses.replace(
        integration, solver=dataclasses.replace(integration.solver, rtol=tolerance, atol=tolerance)
    )


def memory(run: Run, step: Callable[[], object], parameters: Iterable[Tensor], protocol: str) -> None:
    """Record the peak memory of one training step's forward and backward pass, gradients included."""
    for parameter in parameters:
        parameter.grad = None
    with peak_memory(run.device) as peak:
        step()
    run.metric("peak_memory", peak.bytes, protocol)
