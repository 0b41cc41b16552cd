"""Finds the experiments: papers by entry point, experiments by name and pattern."""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
import importlib.metadata
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import UserError
from bench.experiment import Experiment
from bench.settings import flat, read_toml, replace, suggest
from bench.text import told

ENTRY_POINTS = "cnf_bench.papers"


class _Found(NamedTuple):
    """The modules of the papers that are sound, and a line for each that is not."""

    modules: dict[str, Any]
    bad: tuple[str, ...]


@cache
def _found() -> _Found:
    modules: dict[str, Any] = {}
    bad: list[str] = []
    owners: dict[str, str] = {}
    for entry in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        try:
            module = _load(entry)
            _refuse_taken(entry.name, module, owners)
        except UserError as error:
            bad.append(str(error))
            continue
        modules[entry.name] = module
        owners |= {experiment.name: entry.name for experiment in module.EXPERIMENTS}
    return _Found(modules, tuple(bad))


def papers() -> dict[str, Any]:
    """Return the modules that declare experiments, by paper, found by entry point `cnf_bench.papers`.

    One that cannot be imported, declares other things than experiments, or an experiment of a paper before it, is
    left out; see `left_out`.
    """
    return _found().modules


def left_out() -> tuple[str, ...]:
    """Return a line for each paper that `papers` left out; nothing where no paper was looked for yet."""
    return _found().bad if _found.cache_info().currsize else ()


def forget() -> None:
    """Look for the papers anew at the next call: the search path has changed."""
    _found.cache_clear()


def _load(entry: importlib.metadata.EntryPoint) -> Any:
    try:
        module = entry.load()
    except (Exception, SystemExit) as error:  # a paper's own code can fail in any way
        raise UserError(
            f"paper {entry.name!r} ({entry.value}) cannot be imported: {told(error)}; reinstall it"
        ) from error
    declared = getattr(module, "EXPERIMENTS", None)
    if not isinstance(declared, tuple | list) or not all(isinstance(e, Experiment) for e in declared):
        raise UserError(f"paper {entry.name!r} ({entry.value}) has no tuple EXPERIMENTS; reinstall it")
    builders = getattr(module, "BUILDERS", ())
    if not isinstance(builders, tuple | list) or not all(isinstance(name, str) for name in builders):
        raise UserError(f"paper {entry.name!r} ({entry.value}): its BUILDERS are no texts; reinstall it")
    return module


def _refuse_taken(paper: str, module: Any, owners: Mapping[str, str]) -> None:
    for experiment in module.EXPERIMENTS:
        owner = owners.get(experiment.name, paper)
        if owner != paper:
            raise UserError(
                f"papers {owner!r} and {paper!r} both declare {experiment.name}; remove {paper!r}"
            )


def registry() -> dict[str, Experiment]:
    """Return every declared experiment of `papers` by name."""
    return {experiment.name: experiment for module in papers().values() for experiment in module.EXPERIMENTS}


def builders() -> frozenset[str]:
    """Return what every paper's BUILDERS declare: `module:function` that a saved model may name to be rebuilt by."""
    return frozenset(name for module in papers().values() for name in getattr(module, "BUILDERS", ()))


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
            broken = "".join(f"; {line}" for line in left_out())
            raise UserError(f"no experiment matches {pattern!r}; {hint}; see `cnf-bench list`{broken}")
        chosen.update({(e.name, v): (e, v) for e, v in matches})
    return list(chosen.values())


def resolve(reference: str) -> Callable[..., Any]:
    """Import what `module:function` names; the name comes from a declaration, never from a file of data."""
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
        replace(registry()[name].config, table, name)
    return tables


def refuse_other_variants(
    experiment: Experiment, variant: str, tier: str, overrides: Mapping[str, Any]
) -> None:
    """Refuse overrides that make another declared variant of this one, with or without further ones.

    Raises:
        UserError: names the variant to choose.
    """
    own = flat(dataclasses.asdict(experiment.configure(variant, tier)))
    made = flat(dataclasses.asdict(experiment.configure(variant, tier, overrides)))
    given = {key for key in made if made[key] != own[key]}
    for other in experiment.variants:
        if other == variant or not experiment.offers(other, tier):
            continue
        theirs = flat(dataclasses.asdict(experiment.configure(other, tier)))
        if {key for key in made if made[key] != theirs[key]} < given:
            raise UserError(
                f"{experiment.name}/{variant}: {', '.join(sorted(given))} would make it {experiment.name}/{other}; "
                "run that variant instead"
            )
