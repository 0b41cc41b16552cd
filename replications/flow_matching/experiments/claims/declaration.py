"""What `flow_matching.claims` is."""

from __future__ import annotations

from bench.experiment import Departure
from replications.flow_matching.convergence.declaration import CNF, ConvergenceConfig, convergence

METHODS = {"cnf": CNF, "fm_ot": "fm-ot", "fm_vp": "fm-vp"}

CLAIMS = convergence(
    "flow_matching.claims",
    "How soon Flow Matching and maximum likelihood reach a goal, and how few evaluations their samples need",
    ConvergenceConfig(data="8gaussians"),
    {
        f"{data}_{name}": {"data": data, "method": method}
        for data in ("8gaussians", "checkerboard")
        for name, method in METHODS.items()
    },
    departures=(
        Departure(
            "Sets, network, training and goals are ours: the papers compare on images, and print no such goal"
        ),
    ),
)
