"""What `rnode.toy` is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Departure
from replications.rnode.config import Regularization
from replications.rnode.settings import FFJORD, JACOBIAN, KINETIC, POINTS, RK4, RNODE
from replications.tasks.density2d.declaration import Density2dConfig, density2d

PAIR = {"ffjord": FFJORD, "rnode": RNODE}
MORE = {
    "kinetic": KINETIC,
    "jacobian": JACOBIAN,
    "ffjord_rk4": FFJORD | RK4,
    "rnode_rk4": RNODE | RK4,
}


@dataclass(frozen=True)
class RnodeDensity2dConfig(Regularization, Density2dConfig):
    """Settings of RNODE on a 2-D density."""


TOY = density2d(
    "rnode.toy",
    "RNODE against FFJORD on two-dimensional densities",
    "replications.rnode.experiments.toy.run:run",
    RnodeDensity2dConfig(T=1.0),
    {f"{name}_{m}": {"data": name, **method} for name in POINTS for m, method in PAIR.items()}
    | {f"8gaussians_{m}": {"data": "8gaussians", **method} for m, method in MORE.items()},
    removed={"spread": 0.0},
    departures=(Departure("The paper trains on images alone; the weights are those of its image runs"),),
)
