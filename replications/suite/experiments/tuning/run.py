"""Experiment `suite.tuning`: try each setting of a method, and see how far its training comes in the budget."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from replications.flows.errors import SolveFailure
from replications.suite import data, measured
from replications.suite.config import SuiteConfig
from replications.suite.run import untrained
from replications.suite.settings import TUNED
from replications.suite.training import fit_for
from replications.tasks.splits import to_validate

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.suite.experiments.tuning.declaration import TuningConfig


def run(run: Run, config: TuningConfig) -> None:
    """Record validation NLL and iterations of every setting; of one that diverged, nothing."""
    task = data.task(run, config)
    points = to_validate(task.validation)
    shared = dataclasses.asdict(config)
    for setting in TUNED[config.method]:
        model = untrained(run, task.dim, SuiteConfig(**shared, strength=setting.strength))
        try:
            trial = fit_for(
                config.budget,
                model,
                task,
                setting.learning_rate,
                lambda i: run.torch_generator(f"probes/{i}"),
                at_most=config.at_most,
            )
            found = measured.scores(model, points, None)
        except SolveFailure as failure:
            run.note(f"setting {setting.label}: {failure}")
            continue
        nll = -found.log_p.mean().item()
        protocol = f"{config.budget:g} quiet seconds/batch {config.batch}"
        run.metric(f"nll[{setting.label}]", nll, f"validation, {len(points)} points/{protocol}", len(points))
        run.metric(f"iterations[{setting.label}]", trial.iterations, protocol)
