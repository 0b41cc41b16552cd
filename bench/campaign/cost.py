"""What a run will cost, from the records of others like it.

| source | the seconds of a run are |
|---|---|
| `recorded` | the mean of the settled runs of its variant and tier, of those that are `done` where there are any |
| `scaled` | that of another tier, times the quotient of the declared lengths, where the tiers differ in these alone |
| `timed` | those of a run cut short, and the rest of its length at the rate of that (`bench.campaign.probe`) |
| `at least` | so too, of one that was ended before its end was seen |
| `unknown` | |

What is recorded begins once the run's process has imported what it needs; that is added.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bench.execution.budget import STARTING
from bench.execution.plan import Job, device_kind
from bench.execution.run import checkpoint_paths
from bench.experiment import TIERS
from bench.identity import Identity, canonical, plain
from bench.length import is_size, lengths
from bench.record import SETTLED, Record
from bench.settings import flat

SAME_COST = ("learning_rate", "lr")
"""Ends of the names of settings that change no cost."""
LEAST_LEFT = 0.05
"""Share of a run that is taken to be left of one that was interrupted, at least."""


class Cost(NamedTuple):
    """The seconds that a run takes, None where they are unknown, and where that is from."""

    seconds: float | None
    source: str


UNKNOWN = Cost(None, "unknown")


class Costs:
    """What runs cost, by what is recorded; `probe` is asked where that does not say.

    Args:
        records: current ones, of any tier; interrupted ones that left a checkpoint lessen what is left of their runs.
        device: where the runs are to be made; other kinds say nothing.
        probe: job -> its cost.
    """

    def __init__(
        self, records: Iterable[Record], device: str = "cpu", probe: Callable[[Job], Cost] | None = None
    ) -> None:
        self.probe = probe
        self.known: dict[object, Cost] = {}
        self.begun: dict[object, float] = {}
        self.settled: dict[tuple[str, str], list[Record]] = {}
        for record in records:
            i = record.identity
            if device_kind(str(record.environment.get("device", device))) != device_kind(device):
                continue
            if record.status in SETTLED:
                self.settled.setdefault((i.experiment, i.variant), []).append(record)
            elif record.status in ("interrupted", "timeout") and _goes_on(record):
                self.begun[i.run] = record.duration_s

    def whole(self, job: Job) -> Cost:
        """Return the cost of a run from its start; it is the same for all seeds."""
        i = job.identity
        key = (i.experiment, i.variant, i.tier, canonical(dict(i.overrides)))
        if key not in self.known:
            self.known[key] = self._recorded(i) or self._scaled(job) or UNKNOWN
            if self.known[key] is UNKNOWN and self.probe:
                self.known[key] = self.probe(job)
        return self.known[key]

    def left(self, job: Job) -> Cost:
        """Return the cost of what is left of a run, the same where it has not begun."""
        cost, begun = self.whole(job), self.begun.get(job.identity.run, 0.0)
        if cost.seconds is None or not begun:
            return cost
        return Cost(max(cost.seconds - begun, LEAST_LEFT * cost.seconds), cost.source)

    def _recorded(self, identity: Identity) -> Cost | None:
        same = [r for r in self._of(identity) if r.identity.tier == identity.tier]
        seconds = _mean([r for r in same if r.identity.overrides == identity.overrides])
        return None if seconds is None else Cost(STARTING + seconds, "recorded")

    def _scaled(self, job: Job) -> Cost | None:
        """Return the cost by the highest other tier whose settings differ in length alone."""
        config = job.identity.config
        for tier in reversed(TIERS):
            found = [
                r for r in self._of(job.identity) if r.identity.tier == tier and not r.identity.overrides
            ]
            seconds = _mean(found)
            if seconds is None or not job.experiment.offers(job.identity.variant, tier):
                continue
            declared = plain(job.experiment.configure(job.identity.variant, tier))
            quotient = length_quotient(declared, config)
            if quotient is not None:
                return Cost(STARTING + seconds * quotient, "scaled")
        return None

    def _of(self, identity: Identity) -> list[Record]:
        return self.settled.get((identity.experiment, identity.variant), [])


def _goes_on(record: Record) -> bool:
    """Whether an unfinished run left a state to go on from, beside its record."""
    return record.path is not None and bool(checkpoint_paths(record.path.parents[2], record.identity))


def _mean(records: Sequence[Record]) -> float | None:
    chosen = [r for r in records if r.status == "done"] or records
    return statistics.fmean(r.duration_s for r in chosen) if chosen else None


def length_quotient(one: Mapping[str, Any], other: Mapping[str, Any]) -> float | None:
    """Return how many times as long the other setting trains, None where the two differ in more than that.

    A larger batch counts as so many times the cost, a smaller one as the same.

    >>> length_quotient({"iterations": 300, "batch": 256, "lr": 0.1}, {"iterations": 3000, "batch": 100, "lr": 1e-3})
    10.0
    """
    a, b = flat(one), flat(other)
    differ = {key for key in a.keys() | b.keys() if a.get(key) != b.get(key)}
    long = differ & lengths(one).keys() & lengths(other).keys()
    rest = {key for key in differ - long if not key.endswith(SAME_COST)}
    quotients = {b[key] / a[key] for key in long}
    batches = [config.get("batch") for config in (a, b)]
    if rest - {"batch"} or len(quotients) > 1 or (rest and not all(map(is_size, batches))):
        return None
    more = b["batch"] / a["batch"] if rest else 1.0
    return float(max(more, 1.0) * (quotients.pop() if quotients else 1.0))
