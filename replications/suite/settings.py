"""What each method of the suite may be tuned over: an equal number of settings, written down before the runs.

A setting is a learning rate of Adam and a strength of what the method adds; `replications.suite.methods` says what the
strength is of.
"""

from __future__ import annotations

from typing import NamedTuple


class Setting(NamedTuple):
    """A learning rate, and the strength of what the method adds to the plainest of its kind."""

    learning_rate: float
    strength: float = 0.0

    @property
    def label(self) -> str:
        """Its name in a record's metric keys."""
        return f"{self.learning_rate:g}, {self.strength:g}" if self.strength else f"{self.learning_rate:g}"


def _each(rates: tuple[float, ...], strengths: tuple[float, ...]) -> tuple[Setting, ...]:
    return tuple(Setting(rate, strength) for strength in strengths for rate in rates)


_RATES = tuple(Setting(rate) for rate in (1e-3, 3e-3, 1e-2, 3e-2))
_TWO = (3e-3, 1e-2)

METHODS: dict[str, tuple[Setting, ...]] = {
    "cnf": _RATES,
    "ffjord": _RATES,
    "rnode": _each(_TWO, (0.01, 0.1)),
    "steer": _each(_TWO, (0.25, 0.5)),
    "rnode_steer": _each(_TWO, (0.01, 0.1)),
    "ot_flow": _each((1e-2, 3e-2), (30.0, 100.0)),
    "fm_ot": _RATES,
    "fm_diffusion": _RATES,
    "ot_cfm": _RATES,
    "fm_finetuned": _each((1e-3, 3e-3), (1000.0, 3000.0)),
}
"""The settings of each method; as many for each."""

SPLINE = "spline"
TUNED: dict[str, tuple[Setting, ...]] = METHODS | {SPLINE: _RATES}
"""The methods, and the discrete flow beside them."""

YARDSTICKS = ("truth", "gaussian", "mixture", "kde", SPLINE)
"""What stands beside the methods; `truth` where the density is known."""
