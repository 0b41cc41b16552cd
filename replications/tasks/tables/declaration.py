"""What the experiments on tables are: sets, settings, tiers, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.experiment import Experiment
from replications.tasks.config import FlowConfig

HELD_OUT = "miniboone_heldout"
"""MINIBOONE without its training rows: trains on the published validation rows."""

DIMENSIONS = {"power": 6, "gas": 8, "hepmass": 21, "miniboone": 43, "bsds300": 63}


@dataclass(frozen=True)
class TableConfig(FlowConfig):
    """Settings of a flow on a table; the defaults are those of FFJORD's published code (`train_tabular.py`).

    Args:
        data: a set of `bench.data.tabular`.
        factors: widths of the hidden layers, in multiples of D.
        activation: of the network.
        blocks: flow steps, each with its own network and end time.
        validate_every: iterations between validations.
        plateau: validations without improvement after which the learning rate falls tenfold.
        patience: validations without improvement after which training ends; the best weights are kept.
        test_points: the first so many test rows; 0 for all.
        checked: test rows on which inversion, solver error and regularity are measured.
        test_batch: rows of the test solved together.
    """

    data: str = "miniboone"
    factors: tuple[int, ...] = (20, 20)
    activation: str = "softplus"
    blocks: int = 1
    divergence: str = "gaussian"
    rtol: float = 1e-6
    atol: float = 1e-8
    weight_decay: float = 1e-6
    iterations: int = 1_000_000
    batch: int = 1000
    validate_every: int = 200
    plateau: int = 10
    patience: int = 31
    test_points: int = 0
    checked: int = 200
    test_batch: int = 1000


SMALL: Mapping[str, Any] = {"rtol": 1e-5, "atol": 1e-5, "learning_rate": 5e-3, "validate_every": 50}

TIERS: dict[str, Mapping[str, Any]] = {
    "smoke": {**SMALL, "iterations": 2, "test_points": 50, "checked": 10, "repeats": 1},
    "cpu": {**SMALL, "iterations": 400},
    "gpu": {"iterations": 3000},
    "paper": {},
}

METRICS = (
    "nll", "bits_per_dim", "nll_error", "nfe_forward", "nfe_backward", "nfe_test", "iteration_time", "evaluation_time",
    "train_time", "warmup_time", "data_time",
    "overhead", "kinetic_energy", "jacobian_norm", "inversion_error", "peak_memory", "loglik_time",
    "sampling_time", "parameters", "end_time", "train_loss",
)  # fmt: skip


def tables(
    name: str,
    title: str,
    run: str,
    config: TableConfig,
    variants: Mapping[str, Mapping[str, Any]],
    **history: Any,
) -> Experiment:
    """Return an experiment on tables; arguments as `Experiment`, `history` its `renamed`, `removed` and `changes`."""
    held_out = [variant for variant, settings in variants.items() if settings["data"] == HELD_OUT]
    real = [variant for variant in variants if variant not in held_out]
    on_gpu = [variant for variant in real if variants[variant]["data"] == "miniboone"]
    return Experiment(
        name=name,
        task="tables",
        seeded_by=("data",),
        **history,
        title=title,
        config=config,
        run=run,
        variants=variants,
        tiers=TIERS,
        metrics=METRICS,
        data_fields=("data",),
        # Training rows that are not the published ones never fill a cell of tier gpu or paper.
        # Half an hour on a GPU says nothing of the larger ones.
        offered={
            **dict.fromkeys(real, ("smoke", "paper")),
            **dict.fromkeys(on_gpu, ("smoke", "gpu", "paper")),
            **dict.fromkeys(held_out, ("smoke", "cpu")),
        },
        figures={"training": "replications.tasks.figures:training"},
        captions={
            "cpu": "Trained on the 3284 published validation rows of MINIBOONE (the last tenth held out for early "
            "stopping), not on its 29,556 training rows; two hidden layers of 129 in place of 860; at most 400 "
            "iterations of 256 rows at learning rate 0.005, dopri5 at 1e-5; tested on all 3648 published test rows.",
            "gpu": "At most 3000 iterations.",
        },
    )
