"""What the STEER experiments are: FFJORD's and RNODE's, trained to a random end time; and a stiff equation.

b is that of the authors' code for flows on [0, 1], T ~ U(0.25, 1.75). The end time is not learned, as in RNODE.
"""

from __future__ import annotations

from replications.rnode.experiments import FFJORD, FIXED_T, PICTURES, POINTS, RNODE, TABLES, Settings
from replications.steer.experiments.stiff.declaration import STIFF
from replications.tasks.density2d.declaration import toys
from replications.tasks.images.declaration import images
from replications.tasks.tables.declaration import tables

STEER: Settings = {"spread": 0.75}
METHODS: dict[str, Settings] = {
    "ffjord": FFJORD | {"spread": 0.0},
    "steer": FFJORD | STEER,
    "rnode": RNODE | {"spread": 0.0},
    "rnode_steer": RNODE | STEER,
}
SPREADS: dict[str, Settings] = {f"steer_b{b:g}": FFJORD | {"spread": b} for b in (0.25, 0.5)}
TOY = toys(
    "steer.toy",
    "STEER alone and on top of RNODE on two-dimensional densities",
    {f"{name}_{m}": {"data": name, **method} for name in POINTS[:2] for m, method in METHODS.items()}
    | {f"pinwheel_{m}": {"data": "pinwheel", **method} for m, method in SPREADS.items()},
    FIXED_T,
)

TABULAR = tables(
    "steer.tabular",
    "STEER alone and on top of RNODE on tables",
    {
        f"{name}_{m}": TABLES[name] | method
        for name in ("miniboone_heldout", "miniboone")
        for m, method in METHODS.items()
    },
    FIXED_T,
)

IMAGES = images(
    "steer.images",
    "STEER alone and on top of RNODE on images",
    {
        f"mnist_{m}": PICTURES["mnist_rnode" if "rnode" in m else "mnist_ffjord"] | method
        for m, method in METHODS.items()
    },
)

EXPERIMENTS = (TOY, TABULAR, IMAGES, STIFF)
