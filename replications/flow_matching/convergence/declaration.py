"""What an experiment is in which maximum likelihood and flow matching train one and the same network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError
from bench.experiment import Experiment
from replications.tasks.config import at_least

CNF = "cnf"
"""Maximum likelihood."""


@dataclass(frozen=True)
class ConvergenceConfig:
    """Settings of one training and of the goals that it is to reach.

    The tutorial prints two moons, four layers of width 128 and both numbers of iterations; the rest is ours. Network,
    initial weights, optimizer, batches and goals are the same for both. The rate is constant, so that the time until a
    goal does not depend on the budget; an average of the weights takes out most of their noise.

    Args:
        data: a set whose density is known, see `replications.tasks.density2d.densities`.
        method: `cnf`, or one of `replications.flow_matching.method.METHODS`.
        iterations: budget at the published size.
        share: part of it that is run.
        cnf_share: part of that which the CNF runs, whose iteration costs far more, see `iteration_time`.
        hidden: widths of the hidden layers: four linear layers, as in the tutorial's other table.
        activation: smooth, since the likelihood integrates its derivative; time enters every layer.
        batch: fresh points an iteration.
        learning_rate: of Adam.
        average: d of the average of the weights, which is validated and kept.
        tolerance: rtol = atol of dopri5 in the CNF's training; all tests take 1e-5.
        validate_every: step of the iterations at which a training may be validated, on `compared` fixed fresh points.
        spacing: quotient of two iterations with validation, as far as the step allows it; the same for all methods.
        w2_goal: the goal of W2, a multiple of the mean W2 of other data from the validation points.
        kl_goal: the goal of KL(data, flow), in nats.
        reference_sets: sets of other data for that mean.
        compared: points of each side where samples and data are compared.
        w2_sets: sets of so many points of each side by which W2 is debiased, an even number; 0: not at all.
        test_points: fresh points of the likelihood.
        scored: samples, and points of the reference, of FID.
        euler_steps: for W2 against NFE.
        midpoint_steps: the same by the midpoint rule.
        path_times: times at which paths are measured.
        repeats: how often sampling is timed.

    Raises:
        UserError: a number too small, or a share outside (0, 1].
    """

    data: str = "moons"
    method: str = CNF
    iterations: int = 8000
    share: float = 1.0
    cnf_share: float = 1.0
    hidden: tuple[int, ...] = (128, 128, 128)
    activation: str = "silu"
    batch: int = 256
    learning_rate: float = 1e-3
    average: float = 0.99
    tolerance: float = 1e-5
    validate_every: int = 20
    spacing: float = 1.25
    w2_goal: float = 1.5
    kl_goal: float = 0.1
    reference_sets: int = 5
    compared: int = 1000
    w2_sets: int = 0
    test_points: int = 10_000
    scored: int = 5000
    euler_steps: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    midpoint_steps: tuple[int, ...] = (1, 2, 4, 8, 16)
    path_times: int = 21
    repeats: int = 5

    def __post_init__(self) -> None:
        at_least(self, iterations=1, validate_every=1, spacing=1, reference_sets=1, path_times=2, repeats=1)
        at_least(self, compared=40, test_points=2, scored=128)
        if self.w2_sets < 0 or self.w2_sets % 2:
            raise UserError(f"config key 'w2_sets' must be an even number, got {self.w2_sets}")
        for name in ("share", "cnf_share"):
            if not 0 < getattr(self, name) <= 1:
                raise UserError(f"config key {name!r} must lie in (0, 1], got {getattr(self, name):g}")

    @property
    def budget(self) -> int:
        """Number of iterations that are run, at least 1."""
        share = self.share * (self.cnf_share if self.method == CNF else 1.0)
        return max(1, round(share * self.iterations))

    @property
    def schedule(self) -> tuple[int, ...]:
        """The iterations with a validation: multiples of the step, about `spacing` times the one before; the last."""
        step, found = self.validate_every, [0]
        while found[-1] < self.budget:
            after = max(found[-1] + step, step * round(self.spacing * found[-1] / step))
            found.append(min(after, self.budget))
        return tuple(found[1:])


TIERS: dict[str, Mapping[str, Any]] = {
    "smoke": {
        "share": 1e-3, "batch": 16, "hidden": (8, 8, 8), "tolerance": 1e-3, "validate_every": 2, "reference_sets": 1,
        "w2_goal": 1e3, "kl_goal": 1e3, "compared": 40, "test_points": 40, "scored": 128, "euler_steps": (1, 8),
        "midpoint_steps": (4,), "path_times": 3, "repeats": 1,
    },
    "cpu": {
        "cnf_share": 0.25, "batch": 128, "tolerance": 1e-3, "test_points": 2000, "scored": 2000, "repeats": 3,
    },
    "gpu": {},
    "paper": {},
}  # fmt: skip

METRICS = (
    "iterations_to_target", "time_to_target", "wasserstein2", "sliced_wasserstein2", "mmd", "c2st", "kl", "nll",
    "bits_per_dim", "fid", "precision", "recall", "nfe", "sampling_time", "straightness", "path_energy",
    "inversion_error", "iteration_time",
    "train_time", "warmup_time", "data_time",
    "peak_memory", "parameters", "nfe_forward", "nfe_backward", "evaluation_time",
    "train_loss", "nfe_test", "loglik_time",
)  # fmt: skip

FIGURES = {
    name: f"replications.flow_matching.convergence.figures:{name}"
    for name in ("convergence", "samples", "few_steps")
}

CAPTIONS = {
    "cpu": "A quarter of the CNF's 8000 iterations, which is to its disadvantage, and all of Flow Matching's, "
    "of 128 points. No iterations or time to target: not reached."
}


def convergence(
    name: str,
    title: str,
    config: ConvergenceConfig,
    variants: Mapping[str, Mapping[str, Any]],
    metrics: tuple[str, ...] = METRICS,
    **more: Any,
) -> Experiment:
    """Return an experiment in which trainings of one network are followed to a goal; arguments as `Experiment`.

    `more` are its `changes` and `departures`.
    """
    return Experiment(
        name=name,
        task="density2d",
        seeded_by=("data",),
        renamed={"yardsticks": "reference_sets"},
        title=title,
        config=config,
        run="replications.flow_matching.convergence.run:run",
        variants=variants,
        tiers=TIERS,
        metrics=metrics,
        figures=FIGURES,
        captions=CAPTIONS,
        **more,
    )
