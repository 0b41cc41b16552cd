"""What a paper declares: experiments, variants, settings at each tier; and the registry that finds them."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import importlib
import importlib.metadata
import itertools
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import UserError

TIERS = ("smoke", "cpu", "gpu", "paper")
"""From seconds to the published setting; the order says which tier can settle which claim."""

ENTRY_POINTS = "cnf_bench.papers"


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
        time_limits: tier -> seconds after which a run is ended.
        captions: tier -> a sentence for the captions of its table and figures: what departs from the published setting.
        version: raised when the definition changes in a way its config does not show.
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
    time_limits: Mapping[str, float] = field(default_factory=dict)
    offered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)
    version: int = 1

    def __post_init__(self) -> None:
        self._check_layers()

    @property
    def paper(self) -> str:
        """The part of the name before the dot."""
        return self.name.split(".", 1)[0]

    @property
    def method_fields(self) -> frozenset[str]:
        """Config fields that tell variants apart; they take no part in the seeds, so runs are paired."""
        return frozenset(key for overrides in self.variants.values() for key in overrides)

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

    def caption(self, tier: str, text: str) -> str:
        """Return the caption of one of its tables or figures, with the tier's own sentence at its end."""
        return " ".join(part for part in (text, self.captions.get(tier)) if part)

    def _check_layers(self) -> None:
        """Check that every variant and tier names only fields, tiers and variants that exist."""
        for variant in self.offered:
            if variant not in self.variants:
                raise UserError(f"{self.name}: `offered` names {variant!r}, which is no variant")
        for tier in (*self.tiers, *self.captions, *(t for tiers in self.offered.values() for t in tiers)):
            if tier not in TIERS:
                raise UserError(f"{self.name}: unknown tier {tier!r}; known are {', '.join(TIERS)}")
        for tier, variant in itertools.product(self.tiers, self.variants):
            if self.offers(variant, tier):
                self.configure(variant, tier)

    def time_limit(self, tier: str) -> float:
        """Seconds a run may take at a tier."""
        default = {"smoke": 120.0, "cpu": 600.0, "gpu": 3600.0, "paper": 7 * 86400.0}
        return self.time_limits.get(tier, default[tier])


def replace(config: Any, overrides: Mapping[str, Any], owner: str) -> Any:
    """Return a config dataclass with some fields replaced, types checked.

    Raises:
        UserError: a key that is no field, or a value of another type.
    """
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    checked = {}
    for key, value in overrides.items():
        if key not in fields:
            raise UserError(f"{owner}: unknown config key {key!r}; {suggest(key, fields)}")
        checked[key] = _coerce(value, fields[key], f"{owner}: config key {key!r}")
    try:
        return dataclasses.replace(config, **checked)
    except ValueError as error:  # of a library that checks its own settings
        raise UserError(f"{owner}: {error}") from error


def _coerce(value: Any, like: Any, what: str) -> Any:
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{what} wants a finite number, got {value}")
    if isinstance(like, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if like is not None and value is not None and type(value) is not type(like):
        raise UserError(f"{what} wants {type(like).__name__}, got {type(value).__name__} {value!r}")
    return value


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `did you mean ...?`, or the list of what is known."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=3)
    return f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(known)}"


@cache
def papers() -> dict[str, Any]:
    """Return the modules that declare experiments, by paper, found by entry point `cnf_bench.papers`.

    Raises:
        UserError: a declared module cannot be imported.
    """
    found = sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)
    return {entry.name: _load(entry) for entry in found}


def _load(entry: importlib.metadata.EntryPoint) -> Any:
    try:
        return entry.load()
    except ImportError as error:
        raise UserError(
            f"paper {entry.name!r} ({entry.value}) cannot be imported: {error}; reinstall it"
        ) from error


def registry() -> dict[str, Experiment]:
    """Return every declared experiment by name."""
    return {e.name: e for module in papers().values() for e in module.EXPERIMENTS}


def select(patterns: Iterable[str]) -> list[tuple[Experiment, str]]:
    """Return the (experiment, variant) pairs that match, for example `lecture.*` or `lecture.mnist/digits`.

    Raises:
        UserError: a pattern that matches nothing.
    """
    pairs = [(e, variant) for e in registry().values() for variant in e.variants]
    chosen: dict[tuple[str, str], tuple[Experiment, str]] = {}
    for pattern in patterns:
        full = pattern if "/" in pattern else f"{pattern}/*"
        matches = [(e, v) for e, v in pairs if fnmatch.fnmatchcase(f"{e.name}/{v}", full)]
        if not matches:
            name = pattern.split("/")[0]
            hint = suggest(
                pattern,
                [f"{name}/{v}" for v in registry()[name].variants] if name in registry() else registry(),
            )
            raise UserError(f"no experiment matches {pattern!r}; {hint}; see `cnf-bench list`")
        chosen.update({(e.name, v): (e, v) for e, v in matches})
    return list(chosen.values())


def resolve(reference: str) -> Callable[..., Any]:
    """Import what `module:function` names."""
    module, name = reference.split(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def read_overrides(path: Path) -> dict[str, dict[str, Any]]:
    """Read a TOML file of config overrides: one table an experiment, for example `["lecture.mnist"]`.

    Raises:
        UserError: unreadable or malformed file, or a table that names no experiment.
    """
    tables = read_toml(path)
    for name, table in tables.items():
        if name not in registry():
            raise UserError(f"{path}: no experiment {name!r}; {suggest(name, registry())}")
        if not isinstance(table, dict):
            raise UserError(f'{path}: {name!r} must be a table of config keys, as in ["{name}"]')
        _check_overrides(registry()[name], table)
    return tables


def _check_overrides(experiment: Experiment, table: Mapping[str, Any]) -> None:
    replace(experiment.config, table, experiment.name)
    for key in table:
        if key in experiment.method_fields:
            raise UserError(f"{experiment.name}: {key!r} tells the variants apart; choose a variant instead")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        UserError: the file cannot be read or parsed.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        detail = re.sub(r"\s+", " ", str(error))
        raise UserError(f"{path} is not valid TOML: {detail}") from error
