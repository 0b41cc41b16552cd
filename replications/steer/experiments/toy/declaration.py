"""What `steer.toy` is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Departure
from replications.rnode.config import Regularization
from replications.rnode.settings import FFJORD, POINTS, Settings
from replications.steer.config import RandomEnd
from replications.steer.settings import ON_POINTS
from replications.tasks.density2d.declaration import Density2dConfig, density2d

OTHER_B: dict[str, Settings] = {f"steer_b{b:g}": FFJORD | {"b": b} for b in (0.25, 0.75)}


@dataclass(frozen=True)
class SteerDensity2dConfig(RandomEnd, Regularization, Density2dConfig):
    """Settings of STEER on a 2-D density."""


TOY = density2d(
    "steer.toy",
    "STEER alone and on top of RNODE on two-dimensional densities",
    "replications.steer.experiments.toy.run:run",
    SteerDensity2dConfig(T=1.0),
    {f"{name}_{m}": {"data": name, **method} for name in POINTS[:2] for m, method in ON_POINTS.items()}
    | {f"pinwheel_{m}": {"data": "pinwheel", **method} for m, method in OTHER_B.items()},
    renamed={"spread": "b"},
    departures=(
        Departure("T is 1, as for RNODE; the code has 0.5 on points, with the same b/T"),
        Departure("No result on points is documented: what the abstract says is tried on them"),
        Departure("The last weights are tested; the code keeps those that are best on fresh points"),
        Departure("Another b", ("*_b0.*",)),
    ),
)
