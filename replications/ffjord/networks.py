"""The networks and settings that FFJORD publishes, for its own experiments and for the methods that build on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replications.tasks.tables.declaration import HELD_OUT

TABLES: dict[str, Mapping[str, Any]] = {
    "power": {"factors": (10, 10, 10), "activation": "tanh", "blocks": 5, "batch": 10_000},
    "gas": {"factors": (20, 20, 20), "activation": "tanh", "blocks": 5, "batch": 1000},
    "hepmass": {"factors": (10, 10), "activation": "softplus", "blocks": 10, "batch": 10_000},
    "miniboone": {"factors": (20, 20), "activation": "softplus", "blocks": 1, "batch": 1000},
    "bsds300": {"factors": (20, 20, 20), "activation": "softplus", "blocks": 2, "batch": 10_000},
}
"""The networks of Table 4: hidden widths in multiples of D, and flow steps."""

HELD_OUT_ROWS: dict[str, Any] = {**TABLES["miniboone"], "data": HELD_OUT, "factors": (3, 3), "batch": 256}
"""Our smaller network for MINIBOONE without its training rows."""

CIFAR10: dict[str, Any] = {"data": "cifar10", "alpha": 0.05, "flip": True}
"""Settings of CIFAR-10; alpha is that of RNODE's code, FFJORD's command for it is not known."""

SHAPES = {
    "mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "imagenet64": (3, 64, 64),
    "celeba_hq_256": (3, 256, 256),
}
"""(C, H, W) of the images that FFJORD and RNODE report."""


def on_every_table() -> dict[str, Mapping[str, Any]]:
    """Return the settings of each table with its network, the held-out rows first."""
    return {HELD_OUT: HELD_OUT_ROWS} | {name: {"data": name, **network} for name, network in TABLES.items()}
