"""The one place where what is measured of a flow gets its metric name and its protocol.

Values come from `replications.flows.density.evaluate` and from a training's log; nothing is computed here but means
and standard errors over what is given.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from bench.settings import flat
from replications.flows.density import evaluate
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.means import averaged_over, cycled, mean_over_points, sizes_of
from replications.flows.training.log import Log, blocks

if TYPE_CHECKING:
    from bench.execution.run import Run


def record_curves(run: Run, log: Log, sizes: Sequence[int] = (1,)) -> None:
    """Record loss, validation and evaluations of a training against the iteration; long series as means of blocks.

    Args:
        run: where to.
        log: of the training.
        sizes: points of each batch of an epoch; a loss is a mean over points, evaluations are of iterations.
    """
    series: dict[str, tuple[Sequence[float], Sequence[int]]] = {
        "loss": (log.losses, sizes),
        "nfe_forward": (log.nfe_forward, (1,)),
        "nfe_backward": (log.nfe_backward, (1,)),
    }
    for key, (values, weights) in series.items():
        if values:
            x, y = blocks(values, sizes=weights)
            run.curve(key, x, y, "iteration", key.replace("_", " "))
    if log.validations:
        done, found = zip(*log.validations)
        run.curve("validation", done, found, "iteration", "validation")


def record_training(run: Run, log: Log, protocol: str, last: int = 0, sizes: Sequence[int] = (1,)) -> None:
    """Record what a training cost: loss, times, evaluations where they were counted, and their curves.

    NFE is the mean over all iterations, `nfe_forward[end]` over the last of them; `train_loss` is the mean over the
    points of the last ones.

    Args:
        run: where to.
        log: of the training.
        protocol: of the training.
        last: how many iterations the last ones are; 0 for a tenth.
        sizes: points of each batch of an epoch; (1,) where all batches have as many.
    """
    record_curves(run, log, sizes)
    record_times(run, log, protocol)
    n = len(log.losses)
    last = min(n, last) or max(1, n // 10)
    tail = f"{protocol}/last {last} iterations"
    weights = cycled(sizes, n)[-last:]
    over = ", mean over points" if averaged_over(weights) == "points" else ""
    run.metric("train_loss", mean_over_points(log.losses[-last:], weights), tail + over)
    if not log.nfe_forward:
        return
    run.metric("nfe_forward", statistics.fmean(log.nfe_forward), f"{protocol}/mean", n)
    run.metric("nfe_forward[end]", statistics.fmean(log.nfe_forward[-last:]), tail, last)
    run.metric("nfe_backward", statistics.fmean(log.nfe_backward), f"{protocol}/mean", n)
    if any(log.kept) or (log.kept and "auto" in flat(run.identity.config).values()):
        share = 100 * statistics.fmean(log.kept)
        run.metric("kept_graphs", share, f"{protocol}/mean over iterations", len(log.kept))
    over = f"{timed(protocol)}/train_time over evaluations"
    run.metric("evaluation_time", log.train_time / log.evaluations, over)


def record_times(run: Run, log: Log, protocol: str, qualifier: str = "") -> None:
    """Record the median time of an iteration and the time of all, and apart from them that of warm-up and data."""
    key, protocol = f"[{qualifier}]" if qualifier else "", timed(protocol)
    n = len(log.seconds)
    run.metric(f"iteration_time{key}", log.iteration_time, f"{protocol}/median", n)
    run.metric(f"train_time{key}", log.train_time, protocol)
    if 0 < len(log.starts) < n:  # what a single iteration would take warm is not known
        run.metric(f"warmup_time{key}", log.warmup_time, f"{protocol}/above the median", len(log.starts))
    if log.drawing:
        run.metric(f"data_time{key}", sum(log.drawing), f"{protocol}/sum", n)


def timed(protocol: str) -> str:
    """Return the protocol of a training's times: it says eager where it does not say compiled."""
    return protocol if "compiled" in protocol.split("/") else f"{protocol}/eager"


def relabel(run: Run, key: str, label: str) -> None:
    """Say what a recorded curve is, where it is not what `record_curves` calls it."""
    curve = run.curves[key]
    run.curve(key, curve.x, curve.y, curve.x_label, label)


def record_likelihood(
    run: Run, measured: evaluate.Likelihood, integration: Integration, batch: int = 1000, qualifier: str = ""
) -> None:
    """Record the NLL of test points in nats and in bits, its cost and standard error.

    Args:
        run: where to.
        measured: the log-likelihood of the points.
        integration: it was computed by; names the protocol.
        batch: points that were solved together.
        qualifier: distinguishes several of one run, as in `nll[validation]`.
    """
    key, protocol = f"[{qualifier}]" if qualifier else "", f"{integration.protocol}/batch {batch}"
    nll, se, bit = measured.nll, measured.se, measured.nats_per_bit_per_dim
    run.metric(f"nll{key}", nll, f"nll/{protocol}", measured.n, se)
    run.metric(f"bits_per_dim{key}", nll / bit, f"nll/{protocol}", measured.n, se / bit)
    over = averaged_over(sizes_of(measured.n, batch))
    run.metric(f"nfe_test{key}", measured.nfe, f"{protocol}/mean over {over}")
    run.metric(f"loglik_time{key}", measured.seconds, f"{protocol}/{measured.n} points/warm")


def record_solver_error(run: Run, error: Tensor, integration: Integration) -> None:
    """Record the error of the mean NLL by solver and rounding, and the largest of a point, of errors `(N,)`."""
    tight = evaluate.at_tolerance(integration, evaluate.REFERENCE_TOLERANCE).solver.protocol
    protocol, n = f"{integration.protocol} against {tight} in float64", len(error)
    run.metric("nll_error", error.mean().abs().item(), protocol, n)
    run.metric("nll_error[largest]", error.abs().max().item(), f"{protocol}/largest of a point", n)


def record_inversion(run: Run, error: Tensor, protocol: str, qualifier: str = "") -> None:
    """Record the mean Euclidean distance of points from where decoding their code leads, of distances `(N,)`."""
    key = f"inversion_error[{qualifier}]" if qualifier else "inversion_error"
    run.metric(key, error.mean().item(), f"{protocol}/Euclidean", len(error))


def record_regularity(run: Run, measured: evaluate.Regularity, integration: Integration) -> None:
    """Record the mean kinetic energy and Jacobian norm along the paths of some points."""
    for name, values in zip(("kinetic_energy", "jacobian_norm"), measured, strict=True):
        run.metric(name, values.mean().item(), integration.protocol, len(values))


def record_checks(run: Run, flow: Flow, x: Tensor, integration: Integration) -> None:
    """Measure and record the error of the solver, of the inverse, and the regularity, on points `(N, *S)`."""
    record_solver_error(run, evaluate.solver_error(flow, x, integration), integration)
    record_inversion(run, evaluate.inversion_error(flow, x, integration), integration.solver.protocol)
    record_regularity(run, evaluate.regularity(flow, x, integration), integration)


def record_end_time(run: Run, flow: Flow) -> None:
    """Record the learned end time T, the mean over blocks; nothing where it is given."""
    end = evaluate.learned_end_time(flow)
    if end is not None:
        run.metric("end_time", end, "after training/mean over blocks")


def record_mean(run: Run, key: str, values: Tensor, protocol: str) -> None:
    """Record the mean of values `(N,)` and its standard error s / sqrt(N)."""
    values, n = values.double(), len(values)
    run.metric(key, values.mean().item(), protocol, n, values.std().item() / math.sqrt(n))
