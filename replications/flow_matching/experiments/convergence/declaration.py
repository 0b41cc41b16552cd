"""What the experiments are in which maximum likelihood and flow matching train one and the same network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError
from bench.experiment import Experiment

CNF = "cnf"
"""Maximum likelihood."""


@dataclass(frozen=True)
class ConvergenceConfig:
    """Settings of one training and of the goals that it is to reach.

    The tutorial prints two moons, four layers of width 128 and both numbers of iterations; the rest is ours. Network,
    initial weights, optimizer, batches and goals are the same for both ways to train. The rate is constant, so that
    the time until a goal does not depend on the budget; an average of the weights takes out most of their noise.

    Args:
        data: a set of `bench.data.toy2d` whose density is known, see `replications.flow_matching.experiments.convergence.densities`.
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
        yardsticks: sets of other data for that mean.
        compared: points of each side where samples and data are compared.
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
    yardsticks: int = 5
    compared: int = 1000
    test_points: int = 10_000
    scored: int = 5000
    euler_steps: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    midpoint_steps: tuple[int, ...] = (1, 2, 4, 8, 16)
    path_times: int = 21
    repeats: int = 5

    def __post_init__(self) -> None:
        for name, least in (
            ("iterations", 1), ("validate_every", 1), ("spacing", 1), ("yardsticks", 1), ("compared", 40),
            ("test_points", 2), ("scored", 128), ("path_times", 2), ("repeats", 1),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise UserError(f"config key {name!r} must be at least {least}, got {getattr(self, name)}")
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
        "share": 1e-3, "batch": 16, "hidden": (8, 8, 8), "tolerance": 1e-3, "validate_every": 2, "yardsticks": 1,
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
    "iteration_time", "train_time", "peak_memory", "parameters", "nfe_forward", "nfe_backward", "evaluation_time",
    "train_loss", "nfe_test", "loglik_time",
)  # fmt: skip

FIGURES = {
    name: f"replications.flow_matching.experiments.convergence.figures:{name}"
    for name in ("convergence", "samples", "few_steps")
}

CAPTIONS = {
    "cpu": "A quarter of the CNF's 8000 iterations, which is to its disadvantage, and all of Flow Matching's, "
    "of 128 points. No iterations or time to target: not reached."
}

FM_VS_CNF = Experiment(
    name="blog.fm_vs_cnf",
    task="density2d",
    seeded_by=("data",),
    title="Experiment 4: Flow Matching and maximum likelihood train one network on two moons",
    config=ConvergenceConfig(),
    run="replications.flow_matching.experiments.convergence.run:run",
    variants={
        "cnf": {"method": CNF, "iterations": 8000},
        "fm": {"method": "fm-ot", "iterations": 3000},
        "ot_cfm": {"method": "ot-cfm", "iterations": 3000},
        "fm_8000": {"method": "fm-ot", "iterations": 8000},
    },
    tiers=TIERS,
    metrics=(*METRICS[:10], "inception_score", *METRICS[10:]),
    figures=FIGURES,
    captions=CAPTIONS,
)
"""`fm_8000` is `fm` trained on, by the same batches, for the CNF's iterations: it tells when a goal comes later."""

CLAIMS = Experiment(
    name="flow_matching.claims",
    task="density2d",
    seeded_by=("data",),
    title="How soon Flow Matching and maximum likelihood reach a goal, and how few evaluations their samples need",
    config=ConvergenceConfig(data="8gaussians"),
    run="replications.flow_matching.experiments.convergence.run:run",
    variants={
        f"{data}_{arm}": {"data": data, "method": method}
        for data in ("8gaussians", "checkerboard")
        for arm, method in (("cnf", CNF), ("fm_ot", "fm-ot"), ("fm_vp", "fm-vp"))
    },
    tiers=TIERS,
    metrics=METRICS,
    figures=FIGURES,
    captions=CAPTIONS,
)
