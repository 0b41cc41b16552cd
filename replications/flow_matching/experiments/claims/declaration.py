"""What `flow_matching.claims` is."""

from __future__ import annotations

from typing import Any

from bench.experiment import Departure
from replications.flow_matching.convergence.declaration import CNF, METRICS, ConvergenceConfig, convergence

METHODS: dict[str, dict[str, Any]] = {
    "cnf": {"method": CNF},
    "fm_ot": {"method": "fm-ot", "w2_sets": 10},
    "fm_vp": {"method": "fm-vp", "w2_sets": 10},
}
"""Samples of two paths are compared by a debiased distance: W2 of 1000 points of either is at its floor."""

CLAIMS = convergence(
    "flow_matching.claims",
    "How soon Flow Matching and maximum likelihood reach a goal, and how few evaluations their samples need",
    ConvergenceConfig(data="8gaussians"),
    {
        f"{data}_{name}": {"data": data, **method}
        for data in ("8gaussians", "checkerboard")
        for name, method in METHODS.items()
    },
    (*METRICS[:3], "debiased_wasserstein2", *METRICS[3:]),
    departures=(
        Departure(
            "Sets, network, training and goals are ours: the papers compare on images, and print no such goal"
        ),
    ),
)
