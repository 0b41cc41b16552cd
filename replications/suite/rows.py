"""Records of a suite by data set, method and seed; what the methods are called."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from bench.record import Record
from replications.suite.settings import METHODS, YARDSTICKS

NAMES = {
    "cnf": "CNF", "ffjord": "FFJORD", "rnode": "RNODE", "steer": "STEER", "rnode_steer": "RNODE + STEER",
    "ot_flow": "OT-Flow", "fm_ot": "Flow Matching, OT path", "fm_diffusion": "Flow Matching, diffusion path",
    "ot_cfm": "OT-CFM", "fm_finetuned": "Flow Matching + likelihood", "truth": "truth", "gaussian": "normal law",
    "mixture": "Gaussian mixture", "kde": "kernel density", "spline": "spline coupling",
}  # fmt: skip
"""In words."""


def name(method: str) -> str:
    """Return a method's name in words; that of a method of the caller's own is its file and function."""
    return NAMES.get(method, method)


def is_ranked(method: str) -> bool:
    """Whether it is a method, ours or the caller's own, and no yardstick."""
    return method not in YARDSTICKS


def of(record: Record) -> tuple[str, str]:
    """Return data set and method of a record."""
    config = record.identity.config
    return str(config["data"]), str(config["method"])


def by_time(records: Iterable[Record]) -> list[Record]:
    """Return the records of trainings whose budget is a time, and the yardsticks'."""
    return [record for record in records if not record.identity.config["evaluations"]]


def by_evaluations(records: Iterable[Record]) -> list[Record]:
    """Return the records of trainings whose budget is a number of evaluations."""
    return [record for record in records if record.identity.config["evaluations"]]


def values(records: Iterable[Record], key: str) -> dict[str, dict[str, dict[int, float]]]:
    """Return data set -> method -> seed -> a metric's value, infinite where the run failed; methods as they are listed.

    Methods that do not have the metric are left out.
    """
    records = list(records)
    having = {of(record) for record in records if key in record.metrics}
    found: dict[str, dict[str, dict[int, float]]] = {}
    for record in records:
        data, method = of(record)
        if (data, method) in having:
            value = record.metrics[key].value if record.status == "done" else math.inf
            found.setdefault(data, {}).setdefault(method, {})[record.identity.seed] = value
    order = {method: i for i, method in enumerate((*METHODS, *YARDSTICKS))}
    return {
        data: dict(sorted(by.items(), key=lambda item: order.get(item[0], -1))) for data, by in found.items()
    }


def ranked(values: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, float]]:
    """Return the values of the methods, without those of the yardsticks."""
    return {method: dict(by_seed) for method, by_seed in values.items() if is_ranked(method)}
