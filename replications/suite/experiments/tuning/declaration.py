"""What `suite.tuning` is: every setting of a method tried for the whole budget, and judged on validation points."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.experiment import Experiment
from replications.suite.config import Trained
from replications.suite.experiments.density2d.declaration import DENSITY2D
from replications.suite.experiments.digits.declaration import DIGITS
from replications.suite.experiments.mixture.declaration import MIXTURE
from replications.suite.experiments.tabular.declaration import TABULAR
from replications.suite.settings import TUNED
from replications.tasks.config import at_least

SUITES = (DENSITY2D, MIXTURE, TABULAR, DIGITS)


@dataclass(frozen=True)
class TuningConfig(Trained):
    """Settings of the tuning of a method on a task.

    Args:
        at_most: iterations that a trial may take whatever the budget allows; 0 for all.
    """

    at_most: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, at_most=0)


def _trained(suite: Experiment, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a variant of a suite is trained."""
    config = dataclasses.replace(suite.config, **settings)
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(Trained)}


TUNING = Experiment(
    name="suite.tuning",
    task="suite tuning",
    seeded_by=("data",),
    data_fields=("data",),
    title="Tuning of the suite's methods",
    config=TuningConfig(),
    run="replications.suite.experiments.tuning.run:run",
    variants={
        name: _trained(suite, settings)
        for suite in SUITES
        for name, settings in suite.variants.items()
        if settings.get("method") in TUNED
    },
    tiers={"smoke": {"at_most": 2}, "cpu": {}},
    metrics=("nll", "iterations"),
    seeds={"smoke": 1, "cpu": 1},
    time_limits={"smoke": 300, "cpu": 1800},
)
