"""What the figures of the blog's experiments share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.experiment import TIERS
from bench.record import Curve, Record


def of_variant(records: Iterable[Record], variant: str) -> list[Record]:
    """Return a variant's finished records at the highest tier it has, by seed."""
    found = [r for r in records if r.identity.variant == variant and r.status == "done"]
    top = max((TIERS.index(r.identity.tier) for r in found), default=0)
    return sorted((r for r in found if TIERS.index(r.identity.tier) == top), key=lambda r: r.identity.seed)


def plot(ax: Any, curve: Curve, **look: Any) -> None:
    """Draw a recorded curve."""
    ax.plot(curve.x, curve.y, **look)


def legend(ax: Any, columns: int = 2) -> None:
    """Put the legend below the panel, where it hides no curve."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=columns)
