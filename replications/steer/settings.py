"""What STEER's experiments set: the method alone and on top of RNODE, beside both without it.

The authors' code for flows draws the end of a training solve from U(0.25, 2 T - 0.25), whatever T is. In units of T,
b is 0.75 at the T = 1 of its tables and images, and 0.5 at the T = 0.5 of its densities in the plane.
"""

from __future__ import annotations

from replications.rnode.settings import FFJORD, RNODE, Settings

SHORTEST = 0.25
"""Least length of a training solve in the authors' code."""


def published_b(T: float) -> float:
    """Return b, in units of T, of the authors' code for flows that end at T."""
    return 1 - SHORTEST / T


def methods(b: float) -> dict[str, Settings]:
    """Return the settings of FFJORD and RNODE, each without and with STEER."""
    return {
        "ffjord": FFJORD | {"b": 0.0},
        "steer": FFJORD | {"b": b},
        "rnode": RNODE | {"b": 0.0},
        "rnode_steer": RNODE | {"b": b},
    }


METHODS = methods(published_b(1.0))
"""On tables and images."""

ON_POINTS = methods(published_b(0.5))
"""On densities in the plane."""
