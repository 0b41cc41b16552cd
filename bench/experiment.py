"""What a paper declares: experiments, variants, settings at each tier, and how they came to be what they are."""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.errors import UserError
from bench.settings import flat, replace, suggest

TIERS = ("smoke", "cpu", "gpu", "paper")
"""From seconds to the published setting; the order says which tier can settle which claim."""

SEEDS = 8
"""Seeds of an experiment whose claims compare or equate numbers."""


@dataclass(frozen=True)
class Change:
    """A change of what an experiment means that its config does not show.

    Args:
        version: of the definition, from 2; each change has the next one.
        reason: what changed, in one line.
        variants: patterns of the variants whose earlier records it invalidates.
    """

    version: int
    reason: str
    variants: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class Departure:
    """What in an experiment's published tier is not as published, so that it settles no claim at its own setting.

    Args:
        what: in one sentence, without a full stop.
        variants: patterns of the variants that it touches.
    """

    what: str
    variants: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class Experiment:
    """One experiment of a paper: `<paper>.<name>`.

    Args:
        name: for example `lecture.solvers`.
        title: one line for tables and figures.
        config: a frozen dataclass instance; its values are the published (or stated) setting.
        run: `module:function`, called as `function(run, config)`; imported in the run's process only.
        variants: variant name -> the config fields it sets (method, solver, data set...).
        tiers: tier -> the config fields it overrides; a tier that is absent is not offered.
        offered: variant -> the tiers it is offered at, where not at all of `tiers` (data or cost forbid it).
        metrics: catalogue names this experiment reports, in the order of its table.
        data_fields: config fields that name a data set; a registered one is looked up and checksummed.
        figures: figure name -> `module:function`, called as `function(records) -> matplotlib Figure`.
        tables: `module:function`s, called as `function(records) -> list of bench.report.table.Table`, with all
            records of a tier, nothing overridden; what they return stands before the table of all numbers.
        own: the config field that may name a method of the caller's own, `FILE.py:FUNCTION`; variants in which it is
            empty are run for such a method only. `<own>_sha256` is the field of the file's hash.
        time_limits: tier -> seconds after which a run is ended.
        threads: how many threads its runs deserve: more than one only where that was measured to be faster.
        captions: tier -> a sentence for the captions of its table and figures: what departs from the published setting.
        seeds: tier -> number of seeds that settle its claims, fixed before the runs; `SEEDS` where it is absent.
        added: tier -> seeds added after the first ones left claims open, numbered on from those. They are a second and
            last look: judged alone, at a stricter level (`bench.inference.LOOKS`).
        departures: in what its published tier is not the published setting; the paper's README lists them.
        task: what its data is; experiments that try methods on the same thing share one. By default its name.
        seeded_by: config fields that name the data, its size and its dimension. With task and seed they are all that
            random streams derive from: no method, tolerance, budget or evaluation setting belongs here.
        renamed: config fields of earlier records -> their names today.
        removed: config fields of earlier records that are gone -> the value as which today's code does.
        changes: what changed in a way the config does not show, oldest first.
    """

    name: str
    title: str
    config: Any
    run: str
    variants: Mapping[str, Mapping[str, Any]]
    tiers: Mapping[str, Mapping[str, Any]]
    metrics: tuple[str, ...]
    data_fields: tuple[str, ...] = ()
    figures: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    own: str = ""
    time_limits: Mapping[str, float] = field(default_factory=dict)
    offered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    threads: int = 1
    captions: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    added: Mapping[str, int] = field(default_factory=dict)
    departures: tuple[Departure, ...] = ()
    task: str = ""
    seeded_by: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        self._check_layers()
        self._check_history()

    @property
    def paper(self) -> str:
        """The part of the name before the dot."""
        return self.name.split(".", 1)[0]

    @property
    def version(self) -> int:
        """That of its last change, 1 without any."""
        return self.changes[-1].version if self.changes else 1

    def configure(self, variant: str, tier: str, overrides: Mapping[str, Any] | None = None) -> Any:
        """Return the config of one run: defaults, tier, variant, then the caller's overrides.

        Raises:
            UserError: unknown variant, tier or key, or a value of another type than the field's.
        """
        if variant not in self.variants:
            raise UserError(f"{self.name} has no variant {variant!r}; it has {', '.join(self.variants)}")
        if not self.offers(variant, tier):
            named = f"{self.name}/{variant}" if tier in self.tiers else self.name
            at = ", ".join(t for t in self.tiers if self.offers(variant, t))
            raise UserError(f"{named} is not offered at tier {tier}; it is at {at}")
        config = self.config
        for layer in (self.tiers[tier], self.variants[variant], overrides or {}):
            config = replace(config, layer, self.name)
        return config

    def offers(self, variant: str, tier: str) -> bool:
        """Whether a variant can be run at a tier."""
        return tier in self.tiers and tier in self.offered.get(variant, TIERS)

    def awaits(self, variant: str) -> bool:
        """Whether a variant is run for a method of the caller's own only."""
        return bool(self.own) and not self.variants[variant].get(self.own, getattr(self.config, self.own))

    def planned_seeds(self, tier: str) -> int:
        """Return how many seeds settle its claims at a tier, at the first look."""
        return self.seeds.get(tier, SEEDS)

    def looks(self, tier: str) -> tuple[range, ...]:
        """Return the seeds of each look at its claims at a tier: the first ones, then those that were added, alone."""
        first, added = self.planned_seeds(tier), self.added.get(tier, 0)
        return (range(first), *([range(first, first + added)] if added else []))

    def all_seeds(self, tier: str) -> int:
        """Return how many seeds are to be run at a tier, those of a second look too."""
        return self.looks(tier)[-1].stop

    def at_published_setting(self, variant: str, tier: str) -> bool:
        """Whether a tier changes nothing of a variant's setting, and that does not depart from the published one."""
        published = replace(self.config, self.variants[variant], self.name)
        same = self.offers(variant, tier) and self.configure(variant, tier) == published
        return same and not self.departures_of(variant)

    def departures_of(self, variant: str) -> tuple[str, ...]:
        """Return in what a variant at its published tier is not as published."""
        return tuple(d.what for d in self.departures if _named(variant, d.variants))

    def caption(self, tier: str, text: str) -> str:
        """Return the caption of one of its tables or figures, with the tier's own sentence at its end."""
        return " ".join(part for part in (text, self.captions.get(tier)) if part)

    def _check_layers(self) -> None:
        """Check that every variant and tier names only fields, tiers and variants that exist."""
        for variant in self.offered:
            if variant not in self.variants:
                raise UserError(f"{self.name}: `offered` names {variant!r}, which is no variant")
        for tier in (
            *self.tiers,
            *self.captions,
            *self.seeds,
            *self.added,
            *(t for tiers in self.offered.values() for t in tiers),
        ):
            if tier not in TIERS:
                raise UserError(f"{self.name}: unknown tier {tier!r}; known are {', '.join(TIERS)}")
        for tier, variant in itertools.product(self.tiers, self.variants):
            if self.offers(variant, tier):
                self.configure(variant, tier)

    def _check_history(self) -> None:
        """Check that seeds, renamings, changes and departures name what there is."""
        for departure in self.departures:
            for pattern in departure.variants:
                if not any(_named(variant, (pattern,)) for variant in self.variants):
                    raise UserError(f"{self.name}: a departure names {pattern!r}, which is no variant")
        known = flat(dataclasses.asdict(self.config))
        for key in (*self.seeded_by, *self.renamed.values()):
            if key not in known:
                raise UserError(f"{self.name}: {key!r} is no config key; {suggest(key, known)}")
        for key in (*self.removed, *self.renamed):
            if key in known:
                raise UserError(f"{self.name}: {key!r} is declared as gone, but is a config key")
        if [change.version for change in self.changes] != list(range(2, len(self.changes) + 2)):
            raise UserError(f"{self.name}: changes must have the versions 2, 3, ..., in this order")

    def time_limit(self, tier: str) -> float:
        """Seconds a run may take at a tier."""
        default = {"smoke": 120.0, "cpu": 600.0, "gpu": 3600.0, "paper": 7 * 86400.0}
        return self.time_limits.get(tier, default[tier])


def _named(variant: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(variant, pattern) for pattern in patterns)
