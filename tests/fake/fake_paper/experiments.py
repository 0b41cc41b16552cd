"""A paper made for tests: one experiment that does what its config says, and one that trains for a moment."""

from dataclasses import dataclass

from bench.experiment import Experiment


@dataclass(frozen=True)
class Act:
    """What the run does: `measure`, or one way to fail."""

    behaviour: str = "measure"
    factor: float = 1.0


@dataclass(frozen=True)
class Train:
    """A least-squares fit by gradient descent, slow enough to leave checkpoints."""

    iterations: int = 60
    pause: float = 0.0


ACT = Experiment(
    name="fake.act",
    title="Does as it is told",
    config=Act(),
    run="fake_paper.runs:act",
    variants={
        "plain": {},
        "double": {"factor": 2.0},
        "diverges": {"behaviour": "diverge"},
        "breaks": {"behaviour": "raise"},
        "sleeps": {"behaviour": "sleep"},
        "holds": {"behaviour": "hold"},
        "prints": {"behaviour": "print"},
        "starts": {"behaviour": "start"},
        "eats": {"behaviour": "eat"},
        "dies": {"behaviour": "die"},
    },
    tiers={"smoke": {}, "cpu": {}},
    seeds={"cpu": 3},
    metrics=("max_error", "nfe"),
)

TRAIN = Experiment(
    name="fake.train",
    title="Trains",
    config=Train(),
    run="fake_paper.runs:train",
    variants={"sgd": {}},
    tiers={"smoke": {}, "cpu": {"pause": 0.05}},
    seeds={"cpu": 3},
    metrics=("train_loss",),
)

EXPERIMENTS = (ACT, TRAIN)
BUILDERS = ("torch.nn:Linear",)
