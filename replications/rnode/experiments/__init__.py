"""What the RNODE experiments are: FFJORD's, with the kinetic energy and the Jacobian of a path penalised.

The paper trains on images alone. On points and tables the weights are those of its image runs, 0.01, and the end time
is fixed at 1 as there; FFJORD beside it has the same end time.
"""

from __future__ import annotations

from typing import Any

from replications.tasks.density2d.declaration import toys
from replications.tasks.images.declaration import CIFAR10, images
from replications.tasks.images.declaration import RNODE as SCRIPT
from replications.tasks.tables.declaration import HELD_OUT_SET, SETS, tables

Settings = dict[str, Any]

FIXED_T: Settings = {"T": 1.0, "learn_T": False}
FFJORD: Settings = {"kinetic": 0.0, "jacobian": 0.0}
KINETIC: Settings = FFJORD | {"kinetic": 0.01}
JACOBIAN: Settings = FFJORD | {"jacobian": 0.01}
RNODE: Settings = {"kinetic": 0.01, "jacobian": 0.01}
RK4: Settings = {"solver": "rk4", "steps": 4}
"""Step 0.25, as the paper trains on MNIST."""

POINTS = ("8gaussians", "pinwheel", "checkerboard")
PAIR = {"ffjord": FFJORD, "rnode": RNODE}
MORE = {
    "kinetic": KINETIC,
    "jacobian": JACOBIAN,
    "ffjord_rk4": FFJORD | RK4,
    "rnode_rk4": RNODE | RK4,
}
TABLES = {"miniboone_heldout": HELD_OUT_SET} | {name: {"data": name, **net} for name, net in SETS.items()}

TOY = toys(
    "rnode.toy",
    "RNODE against FFJORD on two-dimensional densities",
    {f"{name}_{m}": {"data": name, **method} for name in POINTS for m, method in PAIR.items()}
    | {f"8gaussians_{m}": {"data": "8gaussians", **method} for m, method in MORE.items()},
    FIXED_T,
)

TABULAR = tables(
    "rnode.tabular",
    "RNODE against FFJORD on tables",
    {f"{name}_{m}": table | method for name, table in TABLES.items() for m, method in PAIR.items()},
    FIXED_T,
)

DOPRI5: Settings = {"solver": "dopri5", "steps": 0}
"""What the authors' runs without regularization, and all on CIFAR-10, are trained with."""
PICTURES = {
    "mnist_ffjord": SCRIPT | {"data": "mnist"} | FFJORD | DOPRI5,
    "mnist_rnode": SCRIPT | {"data": "mnist"} | RNODE,
    "cifar10_ffjord": SCRIPT | CIFAR10 | FFJORD | DOPRI5,
    "cifar10_rnode": SCRIPT | CIFAR10 | RNODE | DOPRI5,
}

IMAGES = images("rnode.images", "RNODE against FFJORD on images", PICTURES)

EXPERIMENTS = (TOY, TABULAR, IMAGES)
