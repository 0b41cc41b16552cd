"""What RNODE's experiments set: the method beside FFJORD, and the authors' settings for images.

The paper trains on images alone. On points and tables the weights are those of its image runs, 0.01, and the end time
is fixed at 1 as there; FFJORD beside it has the same end time.
"""

from __future__ import annotations

from typing import Any

from replications.ffjord.networks import CIFAR10

Settings = dict[str, Any]

FFJORD: Settings = {"kinetic": 0.0, "jacobian": 0.0}
KINETIC: Settings = FFJORD | {"kinetic": 0.01}
JACOBIAN: Settings = FFJORD | {"jacobian": 0.01}
RNODE: Settings = {"kinetic": 0.01, "jacobian": 0.01}
RK4: Settings = {"solver": "rk4", "steps": 4}
"""Step 0.25, as the paper trains on MNIST."""

POINTS = ("8gaussians", "pinwheel", "checkerboard")

SCRIPT: Settings = {
    "alpha": 1e-5, "solver": "rk4", "steps": 4, "divergence": "gaussian", "zero_last": True, "test_noise": False,
    "epochs": 100,
}  # fmt: skip
"""Where the published script for MNIST departs from FFJORD's, but for the two regularizers (weight 0.01 each)."""

DOPRI5: Settings = {"solver": "dopri5", "steps": 0}
"""What the authors' runs without regularization, and all on CIFAR-10, are trained with."""

PICTURES: dict[str, Settings] = {
    "mnist_ffjord": SCRIPT | {"data": "mnist"} | FFJORD | DOPRI5,
    "mnist_rnode": SCRIPT | {"data": "mnist"} | RNODE,
    "cifar10_ffjord": SCRIPT | CIFAR10 | FFJORD | DOPRI5,
    "cifar10_rnode": SCRIPT | CIFAR10 | RNODE | DOPRI5,
}
