"""Why a deviation counts as none: the margins of equality and their reasons, one table for all claims that share one.

A claims file holds them as `[[margin]]`, each with the `metrics` it is for (without qualifier), its `tolerance` or
`tolerance_abs`, and the `reason`. They are stated before the runs.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.metrics.catalogue import CATALOGUE, split_key
from bench.settings import suggest

if TYPE_CHECKING:
    from bench.claim import Claim

DEVIATIONS = 3.0
"""A margin is that of the source where it is so many of its standard deviations."""
OF_THE_SOURCE = "three standard deviations of the source over its runs"


@dataclass(frozen=True)
class Margin:
    """A margin that claims share.

    Args:
        metrics: names of the catalogue.
        reason: why it is the right one.
        tolerance: relative deviation; see `bench.claim.Claim`.
        tolerance_abs: absolute deviation.
    """

    metrics: tuple[str, ...]
    reason: str
    tolerance: float | None = None
    tolerance_abs: float | None = None

    def holds(self, claim: Claim) -> bool:
        """Whether a claim has this margin."""
        if split_key(claim.metric)[0] not in self.metrics:
            return False
        if claim.tolerance_abs is not None:
            return claim.tolerance_abs == self.tolerance_abs
        return claim.tolerance == self.tolerance


def read_margins(tables: Any, name: str) -> list[Margin]:
    """Return the `[[margin]]` tables of a claims file.

    Raises:
        UserError: one is malformed.
    """
    if not isinstance(tables, list):
        raise UserError(f"{name}: margin must be a list of [[margin]] tables")
    return [_margin(table, f"{name}: margin number {place + 1}") for place, table in enumerate(tables)]


def _margin(table: Any, name: str) -> Margin:
    known = {f.name for f in dataclasses.fields(Margin)}
    if not isinstance(table, Mapping):
        raise UserError(f"{name} is no table")
    for key in table:
        if key not in known:
            raise UserError(f"{name}: unknown key {key!r}; {suggest(key, known)}")
    metrics, reason = table.get("metrics"), table.get("reason")
    if not isinstance(metrics, list) or not metrics or not all(isinstance(m, str) for m in metrics):
        raise UserError(f"{name}: metrics must be a list of names")
    for metric in metrics:
        if metric not in CATALOGUE:
            raise UserError(f"{name}: no metric {metric!r}; {suggest(metric, CATALOGUE)}")
    if not isinstance(reason, str) or not reason.strip():
        raise UserError(f"{name}: reason must be a text")
    given = [key for key in ("tolerance", "tolerance_abs") if key in table]
    if len(given) != 1:
        raise UserError(f"{name}: give tolerance or tolerance_abs, one of the two")
    value = table[given[0]]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise UserError(f"{name}: {given[0]} must be a number that is not negative, not {value!r:.60}")
    return Margin(tuple(metrics), reason, **{given[0]: float(value)})


def with_reasons(claims: Sequence[Claim], margins: Sequence[Margin], name: str) -> list[Claim]:
    """Return claims with the reasons of their margins: their own, that of a shared margin, or the source's spread.

    Raises:
        UserError: a claim equates numbers within a margin without a reason, or no claim has one of the margins.
    """
    used: set[int] = set()
    found = []
    for claim in claims:
        reason = claim.margin_reason
        if claim.equates and not reason:
            reason = OF_THE_SOURCE if of_the_source(claim) else ""
            shared = next((i for i, margin in enumerate(margins) if margin.holds(claim)), None)
            if not reason and shared is not None:
                used.add(shared)
                reason = margins[shared].reason
            if not reason:
                raise UserError(
                    f"{name}: claim {claim.id!r} counts a deviation of {_shown(claim)} as none without a reason; "
                    "give margin_reason, or a [[margin]] for its metric"
                )
        found.append(dataclasses.replace(claim, margin_reason=reason))
    for i, margin in enumerate(margins):
        if i not in used:
            raise UserError(
                f"{name}: margin number {i + 1}, for {', '.join(margin.metrics)}, is that of no claim"
            )
    return found


def of_the_source(claim: Claim) -> bool:
    """Whether a claim's margin is the spread that the source prints, `± s`: `DEVIATIONS` times s."""
    printed = re.match(r"± (\d+(?:\.\d+)?(?:e-?\d+)?)", claim.spread)
    wanted = DEVIATIONS * float(printed[1]) if printed else None
    return None not in (wanted, claim.tolerance_abs) and math.isclose(wanted or 0, claim.tolerance_abs or 0)


def _shown(claim: Claim) -> str:
    return f"{100 * claim.tolerance:g} %" if claim.tolerance_abs is None else f"{claim.tolerance_abs:g}"
