"""What the experiments of the suite share: metrics, tiers, and a variant for each method on each of a task's data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.experiment import Experiment
from replications.suite.config import SuiteConfig
from replications.suite.settings import TUNED, YARDSTICKS

CHOSEN = Path(__file__).with_name("tuned.toml")
"""What the tuning chose, and how far a training comes in the budget; `replications.suite.tuned` writes it."""

METRICS = (
    "nll", "kl", "bits_per_dim", "field_error", "nll_error", "trace_error_nll", "debiased_wasserstein2", "wasserstein2",
    "mmd", "c2st", "nearest_in_training", "iterations", "nfe_forward", "nfe_backward", "nfe_test", "nfe", "train_time",
    "warmup_time", "data_time", "iteration_time", "evaluation_time", "loglik_time", "sampling_time", "peak_memory",
    "kept_graphs", "inversion_error", "detour", "parameters", "train_loss",
)  # fmt: skip

SMOKE: Mapping[str, Any] = {
    "at_most": 2, "batch": 16, "width": 8, "pool": 100, "validation_points": 40, "test_points": 40, "set_points": 40,
    "timed": 40, "checked": 8,
}  # fmt: skip


def chosen() -> dict[str, dict[str, Any]]:
    """Return learning rate, strength and iterations by `<data>/<method>`, as far as they were tuned."""
    found: dict[str, dict[str, Any]] = tomllib.loads(CHOSEN.read_text()) if CHOSEN.is_file() else {}
    return found


def variants(data: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Return a variant for each method and yardstick on each data set, and one for a method of the caller's own."""
    tuned = chosen()
    methods = (*TUNED, *(name for name in YARDSTICKS if name not in TUNED))
    ours: dict[str, Mapping[str, Any]] = {
        f"{name}_{method}": {"data": name, "method": method, **tuned.get(f"{name}/{method}", {})}
        for name in data
        for method in methods
    }
    return ours | {name: {"data": name} for name in data}


def suite(name: str, title: str, data: Sequence[str], config: SuiteConfig, **more: Any) -> Experiment:
    """Return an experiment of the suite; the other arguments are those of `Experiment`."""
    tuned, every = chosen(), variants(data)
    untuned = {
        variant: ("smoke",)
        for variant, settings in every.items()
        if settings.get("method") in TUNED and f"{settings['data']}/{settings['method']}" not in tuned
    }
    return Experiment(
        name=f"suite.{name}",
        task="suite",
        seeded_by=("data",),
        title=title,
        config=config,
        run="replications.suite.run:run",
        variants=every,
        tiers={"smoke": SMOKE, "cpu": {}},
        offered=untuned,
        metrics=METRICS,
        own="method",
        figures={
            "pareto": "replications.suite.figures:pareto",
            "work_precision": "replications.suite.figures:work_precision",
        },
        tables=("replications.suite.tables:tables",),
        **more,
    )
