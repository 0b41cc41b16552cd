"""What `ffjord.toy` is."""

from __future__ import annotations

from bench.experiment import Change, Departure
from replications.tasks.density2d.declaration import SETS, Density2dConfig, density2d

TOY = density2d(
    "ffjord.toy",
    "FFJORD on two-dimensional densities",
    "replications.ffjord.experiments.toy.run:run",
    Density2dConfig(validate_every=100),
    {name: {"data": name} for name in SETS} | {"8gaussians_learned_T": {"learn_T": True}},
    removed={"kinetic": 0.0, "jacobian": 0.0, "spread": 0.0},
    changes=(
        Change(2, "the end time is given and the best validated weights are kept, as in the published code"),
    ),
    departures=(
        Departure(
            "Points are independent draws; the code has as many of each part, on circles, rings and moons equally "
            "spaced before the noise",
            ("circles", "rings", "moons", "pinwheel", "2spirals"),
        ),
        Departure("T is learned; the code's never moves", ("8gaussians_learned_T",)),
    ),
)
