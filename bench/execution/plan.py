"""Pattern x variants x seeds -> the runs, and which of them are still missing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench import files
from bench import record as records
from bench.data import registry as data
from bench.errors import UserError
from bench.experiment import TIERS, Experiment
from bench.identity import Identity, identify, is_current
from bench.record import Record, records_root
from bench.registry import refuse_other_variants, select

SOURCE = 2**20
"""Bytes that the file of a caller's own method may have."""


@dataclass(frozen=True)
class Job:
    """One run to do: its experiment and its identity."""

    experiment: Experiment
    identity: Identity

    @property
    def data_sets(self) -> list[str]:
        """Names of the registered data sets the run reads."""
        named = (self.identity.config[f] for f in self.experiment.data_fields)
        return sorted({name for name in named if name in data.names()})


def plan(
    patterns: Iterable[str],
    tier: str,
    seeds: Sequence[int] | None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    method: str | None = None,
) -> list[Job]:
    """Return the runs that patterns, tier and seeds name, seed by seed: an early stop leaves whole tables.

    Without seeds, each experiment's declared number of them. Experiments and variants that are not offered at the
    tier are left out. With a method of the caller's own, `FILE.py:FUNCTION`, the variants that wait for one are meant,
    and no others.

    Raises:
        UserError: unknown tier, a pattern without match, nothing offered at the tier, nothing that takes a method of
            the caller's own, or its file is not there.
    """
    if tier not in TIERS:
        raise UserError(f"unknown tier {tier!r}; known are {', '.join(TIERS)}")
    pairs = [(e, v) for e, v in select(patterns) if e.offers(v, tier) and e.awaits(v) == (method is not None)]
    if method is not None and not pairs:
        raise UserError(
            f"nothing that matches takes a method of one's own at tier {tier}; see `cnf-bench list`"
        )
    if not pairs:
        raise UserError(f"nothing that matches is offered at tier {tier}; see `cnf-bench list`")
    changes = {name: dict(settings) for name, settings in (overrides or {}).items()}
    if method is not None:
        digest = source_hash(method)
        for e in {e.name: e for e, _ in pairs}.values():
            changes.setdefault(e.name, {}).update({e.own: method, f"{e.own}_sha256": digest})
    for name in changes:
        if name not in {e.name for e, _ in pairs}:
            raise UserError(f"config overrides for {name}, which is not among the experiments of this call")
    for e, v in pairs:
        refuse_other_variants(e, v, tier, changes.get(e.name, {}))
    most = max(e.all_seeds(tier) for e, _ in pairs)
    return [
        Job(e, identify(e, v, tier, seed, changes.get(e.name)))
        for seed in (range(most) if seeds is None else seeds)
        for e, v in pairs
        if seeds is not None or seed < e.all_seeds(tier)
    ]


def source_hash(method: str) -> str:
    """Return the SHA-256 of the file of `FILE.py:FUNCTION`.

    Raises:
        UserError: another form, or no such file.
    """
    name, _, function = method.rpartition(":")
    if not name.endswith(".py") or not function.isidentifier():
        raise UserError(f"a method is given as FILE.py:FUNCTION, got {method!r}")
    if not Path(name).is_file():
        raise UserError(f"no file {name}; give the method as FILE.py:FUNCTION")
    return hashlib.sha256(files.read(Path(name), SOURCE)).hexdigest()


def missing(
    jobs: Iterable[Job], folder: Path, device: str = "cpu", bad: list[str] | None = None
) -> list[Job]:
    """Return the jobs of which the folder holds no settled, current record from this kind of device.

    Args:
        jobs: which.
        folder: of the records.
        device: the name of a device.
        bad: receives a line for each record of the jobs that can not be read; its run is missing.
    """
    told = [] if bad is None else bad
    return [job for job in jobs if not any(_settles(r, device) for r in recorded(job, folder, told))]


def recorded(job: Job, folder: Path, bad: list[str]) -> list[Record]:
    """Return the current records of a job's run in a folder, whatever the config was called when they were made."""
    i = job.identity
    found = []
    for path in files.listed(records_root(folder) / i.experiment, bad):
        if not (path.name.startswith(f"{i.variant}.{i.tier}.s{i.seed}.") and path.name.endswith(".json")):
            continue
        try:
            record = records.read(path)
        except UserError as error:
            bad.append(str(error))
            continue
        if record.identity.run == i.run and is_current(record.identity):
            found.append(record)
    return found


def _settles(record: Record, device: str) -> bool:
    kind = device_kind(str(record.environment.get("device", device)))
    return record.status in records.SETTLED and kind == device_kind(device) and record.identity.renewed


def device_kind(device: str) -> str:
    """Return the kind of a device, without its number.

    >>> device_kind("cuda:1")
    'cuda'
    """
    return device.split(":")[0]


def check_device(device: str) -> None:
    """Refuse a device that torch does not have.

    Raises:
        UserError: unknown name, or no such device.
    """
    if device == "cpu":
        return
    import torch

    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index or "0").isdigit():
        raise UserError(f"unknown device {device!r}; use cpu, cuda or cuda:<n>")
    if int(index or 0) >= torch.cuda.device_count():
        raise UserError(f"no device {device}: torch sees {torch.cuda.device_count()} GPUs; use --device cpu")


class Unavailable(NamedTuple):
    """Why a data set can not be read, and whether that was to be expected: it is absent and must not be fetched."""

    reason: str
    expected: bool


def prepare_data(jobs: Sequence[Job], download: bool) -> dict[str, Unavailable]:
    """Make sure of the data the jobs read, checksums included; return what is not to be had, with the reason."""
    absent = {}
    for name in sorted({name for job in jobs for name in job.data_sets}):
        data_set = data.get(name)
        try:
            if data_set.locate() is not None:
                continue
            if download and data_set.fetchable:
                data_set.fetch()
            else:
                absent[name] = Unavailable(f"data set {name} is not at hand; {data_set.mend}", True)
        except UserError as error:  # damaged, or no network: the runs of other data go on
            absent[name] = Unavailable(str(error), False)
    return absent
