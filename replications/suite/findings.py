"""Sentences about a table, made from its numbers by stated rules, never typed.

0. Nothing is said of a data set on which a method has a single seed.
1. Best on a data set is the method with the lowest mean. It is *the best* only where it is told apart from every other
   one, and else *among the best*, which are those that share a letter with it.
2. Over data sets, a method *leads* where the upper end of its rank's interval is below the lower end of every other's.
3. How often two methods differ is counted over data sets, by the same letters.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.stats import Interval
from replications.suite import ranking, rows


def sentences(tables: Mapping[str, ranking.Values], key: str, ranks: Mapping[str, Interval]) -> list[str]:
    """Return the findings of a table: data set -> method -> seed -> value, and the mean ranks."""
    parts = [
        _best(data, values)
        for data, values in tables.items()
        if len(values) > 1 and all(len(by_seed) > 1 for by_seed in values.values())
    ]
    if ranks:
        parts.append(_leader(ranks))
    return [" ".join(parts)] if parts else []


def _best(data: str, values: ranking.Values) -> str:
    """Return who is best on a data set, with what certainty."""
    best = min(values, key=lambda name: ranking.mean(values[name]))
    told = ranking.apart(values)
    others = [name for name in values if name != best and frozenset((best, name)) not in told]
    if not others:
        return f"On {data} {rows.name(best)} is the best, told apart from the {len(values) - 1} others."
    if len(others) == len(values) - 1:
        return f"On {data} no method is told apart from {rows.name(best)}, which has the lowest mean."
    beside = ", ".join(rows.name(name) for name in others)
    return f"On {data} {rows.name(best)} is among the best, not told apart from {beside}."


def _leader(ranks: Mapping[str, Interval]) -> str:
    """Return who leads over data sets, if anyone does."""
    order = sorted(ranks, key=lambda name: ranks[name].mean)
    first = ranks[order[0]]
    behind = [name for name in order[1:] if _below(first, ranks[name])]
    name, rank = rows.name(order[0]), f"{first.mean:.1f} of {len(ranks)}"
    if len(behind) == len(ranks) - 1:
        return f"Over the data sets {name} leads: mean rank {rank}, its interval below every other's."
    tied = ", ".join(rows.name(other) for other in order[1:] if other not in behind)
    return f"Over the data sets {name} has the lowest mean rank, {rank}; its interval meets those of {tied}."


def _below(first: Interval, other: Interval) -> bool:
    return first.high is not None and other.low is not None and first.high < other.low
