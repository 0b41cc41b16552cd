"""Settings of a run of the suite."""

from __future__ import annotations

from dataclasses import dataclass

from replications.tasks.config import at_least


@dataclass(frozen=True)
class Trained:
    """What of a training is the same for every method.

    Args:
        data: name of the task's data.
        method: a method or yardstick of `replications.suite.settings`, or a method of one's own, `FILE.py:FUNCTION`.
        budget: quiet seconds of training that the iterations stand for.
        batch: points an iteration.
        width: of the three hidden layers of the field; of others' networks, as many parameters.
        pool: fresh points that a yardstick is fitted to.
        validation_points: points by which settings are chosen.
    """

    data: str = "8gaussians"
    method: str = ""
    budget: float = 10.0
    batch: int = 256
    width: int = 64
    pool: int = 20_000
    validation_points: int = 2000

    def __post_init__(self) -> None:
        at_least(self, batch=1, width=1, pool=40, validation_points=40, budget=0)


@dataclass(frozen=True)
class SuiteConfig(Trained):
    """Settings of a method on a task.

    Args:
        learning_rate: of Adam.
        strength: of what the method adds; see `replications.suite.methods`.
        iterations: optimizer steps: as many as the tuning took in the budget. 0: until the evaluations are spent.
        evaluations: of the field, forward and backward, after which the training ends; 0 for no such end.
        at_most: iterations that are taken whatever the budget allows; 0 for all. For trials.
        test_points: points of the test.
        sets: of samples, and of data, that are compared; an even number.
        set_points: points of each of them.
        timed: points and samples whose times are measured.
        method_sha256: of the file of a method of one's own; empty for ours.
        checked: points on which solver, inverse, trace estimate and paths are checked.
    """

    learning_rate: float = 1e-3
    strength: float = 0.0
    iterations: int = 0
    evaluations: int = 0
    at_most: int = 0
    test_points: int = 5000
    sets: int = 10
    set_points: int = 500
    timed: int = 10_000
    method_sha256: str = ""
    checked: int = 250

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, iterations=0, evaluations=0, at_most=0, timed=1, checked=2)
        at_least(self, test_points=40, sets=2, set_points=40)
