"""What many tests need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.execution.run import Run
from bench.execution.worker import keep
from bench.experiment import Experiment
from bench.identity import identify
from bench.metrics.catalogue import split_key
from bench.models import load_model
from bench.record import Record, describe, read
from bench.registry import resolve


def perform(
    experiment: Experiment, variant: str, folder: Path, seed: int = 0, tier: str = "smoke", **overrides: Any
) -> Run:
    """Run an experiment's function in this process; all that it reports is declared."""
    run = Run(identify(experiment, variant, tier, seed, overrides), folder)
    resolve(experiment.run)(run, experiment.configure(variant, tier, overrides))
    assert {split_key(key)[0] for key in run.metrics} <= set(experiment.metrics)
    return run


def recorded(run: Run) -> Record:
    """Write what a run has, as its process would, and read it again."""
    return read(_kept(run))


def loaded(run: Run) -> Any:
    """Return the trained model that a run kept, as a user loads it."""
    return load_model(_kept(run))


def _kept(run: Run) -> Path:
    artifacts = {key: describe(array) for key, array in run.artifacts.items()}
    record = Record(run.identity, "done", metrics=run.metrics, curves=run.curves, artifacts=artifacts)
    return keep(run, record)


def untimed(run: Run) -> dict[str, float]:
    """Return the metrics that repeat: all but times and what comes of them."""
    return {key: m.value for key, m in run.metrics.items() if "time" not in key and "overhead" not in key}


def sizes_seen(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Return a list that fills with the sizes of an epoch's batches, of each training that is recorded from now on."""
    from replications.tasks import recording

    seen: list[list[int]] = []
    sound = recording.record_training

    def spied(*arguments: Any, sizes: Any = (1,), **named: Any) -> None:
        seen.append(list(sizes))
        sound(*arguments, sizes=sizes, **named)

    monkeypatch.setattr("replications.tasks.training.record_training", spied)
    return seen
