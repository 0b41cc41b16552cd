"""Where what is measured of a training until a goal gets its metric name and its protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.metrics.catalogue import split_key
from bench.metrics.fidelity.quality import Score
from replications.flow_matching.convergence.validation import Progress, reached
from replications.flow_matching.points import FewSteps
from replications.tasks.recording import timed

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.flow_matching.convergence.declaration import ConvergenceConfig

LABELS = {"wasserstein2": "W2", "kl": "KL (nats)"}
SCORES = ("fid", "fid[extrapolated]", "precision", "recall")


def record_progress(run: Run, found: Progress, reference: float, config: ConvergenceConfig) -> None:
    """Record W2 and KL against iterations and against the training's seconds, and when each reached its goal.

    Of a goal that is never reached nothing is recorded: the length of the training is no measure of it.

    Args:
        run: where to.
        found: at the validations.
        reference: Y, the mean W2 of other data from the validation points.
        config: goals and sizes.
    """
    n = config.compared
    goals = {
        "wasserstein2": (config.w2_goal * reference, f"W2 <= {config.w2_goal:g} x data against data"),
        "kl": (config.kl_goal, f"KL <= {config.kl_goal:g} nats"),
    }
    for name, (goal, what) in goals.items():
        values = [getattr(each, name) for each in found.values]
        run.curve(name, found.iterations, values, "iteration", LABELS[name])
        run.curve(f"{name} seconds", found.seconds, values, "training seconds", LABELS[name])
        k = reached(values, goal)
        if k is not None:
            protocol = f"{what}, two in a row/{n} points"
            run.metric(f"iterations_to_target[{name}]", found.iterations[k], protocol, n)
            run.metric(f"time_to_target[{name}]", found.seconds[k], timed(protocol), n)
    protocol = f"exact/{n} points/mean of {config.reference_sets} sets of other data"
    run.metric("wasserstein2[validation data]", reference, protocol, n)


def record_scores(run: Run, scores: Mapping[str, Score], classes: bool, qualifier: str = "") -> None:
    """Record FID, precision and recall, and the inception score where the data has classes."""
    for key, score in scores.items():
        name, own = split_key(key)
        if key in SCORES or (name == "inception_score" and classes):
            parts = ", ".join(part for part in (own, qualifier) if part)
            run.metric(f"{name}[{parts}]" if parts else name, *dataclasses.astuple(score))


def record_few_steps(run: Run, found: Sequence[FewSteps], method: str) -> None:
    """Record W2 against the evaluations of a method with equal steps, as a curve."""
    nfe, errors = [each.nfe for each in found], [each.wasserstein2 for each in found]
    run.curve(f"w2_against_nfe {method}", nfe, errors, f"NFE, {method}", "W2")
