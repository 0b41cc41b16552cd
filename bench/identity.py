"""What makes a run this run: its identity, what its random streams derive from, and whether it is still today's.

| what | follows from |
|---|---|
| id | SHA-256 of (experiment, variant, tier, seed, version, config, data hashes) |
| random streams | SHA-256 of (task, the config fields in `seeded_by`, seed) and the stream's name, nothing else |
| being current | stored config, completed by today's declaration, equals today's config |

So an evaluation setting, a tolerance, a budget or a method changes neither data nor initial weights nor probes; and a
field that is added to a config with a default that does as before leaves every record what it was.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bench.experiment import Experiment
from bench.registry import registry
from bench.settings import flat


def canonical(value: Any) -> str:
    """Return the canonical JSON of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, in hex."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


@dataclass(frozen=True)
class Identity:
    """What makes a run this run and no other.

    Args:
        experiment: its name.
        variant: its name.
        tier: its name.
        seed: a number from 0.
        version: of the experiment's definition.
        config: every setting.
        data: path of each file that is read -> SHA-256.
        overrides: the settings that were given in place of the declared ones; they are in `config` too.
        seeded_by: what the random streams derive from; follows from the rest.
    """

    experiment: str
    variant: str
    tier: str
    seed: int
    version: int
    config: Mapping[str, Any]
    data: Mapping[str, str]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seeded_by: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """SHA-256 of the canonical JSON of the fields up to `data`."""
        content = dataclasses.asdict(self)
        return digest({k: v for k, v in content.items() if k not in ("overrides", "seeded_by")})

    @property
    def name(self) -> str:
        """File stem: `<variant>.<tier>.s<seed>.<start of the id>`."""
        return f"{self.variant}.{self.tier}.s{self.seed}.{self.id[:10]}"

    @property
    def row(self) -> str:
        """The variant, with what the caller set in place of its settings: `8gaussians [b=0.3]`."""
        given = {key: value for key, value in self.overrides.items() if not key.endswith("_sha256")}
        changed = ", ".join(f"{key}={shown(value)}" for key, value in sorted(given.items()))
        return f"{self.variant} [{changed}]" if changed else self.variant

    @property
    def label(self) -> str:
        """`<experiment>/<row> tier seed`, for people."""
        return f"{self.experiment}/{self.row} {self.tier} seed {self.seed}"

    @property
    def run(self) -> tuple[str, str, str, int, str]:
        """What today's declaration makes one run of, whatever the ids of its records are."""
        return self.experiment, self.variant, self.tier, self.seed, canonical(dict(self.overrides))

    @property
    def renewed(self) -> bool:
        """Whether its random streams are today's, not those of schema 1."""
        return "schema" not in self.seeded_by

    def stream_seed(self, stream: str) -> int:
        """Return the 63-bit seed of a named random stream."""
        source = self.seeded_by or {"task": self.experiment, "seed": self.seed}
        content = f"{canonical(dict(source))}/{stream}".encode()
        return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 1


def shown(value: Any) -> str:
    """Return a setting as a person would write it."""
    return (
        f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    )


def identify(
    experiment: Experiment, variant: str, tier: str, seed: int, overrides: Mapping[str, Any] | None = None
) -> Identity:
    """Return the identity of a run, from its declaration alone (no data is read).

    Raises:
        UserError: see `Experiment.configure`.
    """
    from bench.data import registry as data

    declared = plain(experiment.configure(variant, tier))
    made = experiment.configure(variant, tier, overrides)
    config = plain(made)
    before, after = flat(declared), flat(config)
    changed = {key: after[key] for key in after if after[key] != before[key]}
    sets = {name for f in experiment.data_fields if (name := getattr(made, f)) in data.names()}
    hashes = {path: sha for name in sorted(sets) for path, sha in data.get(name).hashes().items()}
    return Identity(
        experiment.name,
        variant,
        tier,
        seed,
        experiment.version,
        config,
        hashes,
        changed,
        seeding(experiment, config, seed),
    )


def plain(config: Any) -> dict[str, Any]:
    """Return a config dataclass as JSON-able data."""
    tree: dict[str, Any] = json.loads(canonical(dataclasses.asdict(config)))
    return tree


def seeding(experiment: Experiment, config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return what the random streams of a run derive from: its task, the size and name of its data, its seed."""
    values = flat(config)
    return {
        "task": experiment.task or experiment.name,
        "by": {key: values[key] for key in experiment.seeded_by},
        "seed": seed,
    }


def is_current(identity: Identity) -> bool:
    """Whether a record's identity is one that today's declaration gives."""
    return why_stale(identity) is None


def why_stale(identity: Identity) -> str | None:
    """Return why today's declaration would not make this run again, None where it would."""
    experiment = registry().get(identity.experiment)
    if experiment is None:
        return f"there is no experiment {identity.experiment} any more"
    if identity.variant not in experiment.variants:
        return f"there is no variant {identity.variant} any more"
    if not experiment.offers(identity.variant, identity.tier):
        return f"it is not offered at tier {identity.tier} any more"
    if identity.version > experiment.version:
        return f"it is of version {identity.version}, today's is {experiment.version}"
    for change in experiment.changes:
        if change.version > identity.version and any(
            fnmatch.fnmatchcase(identity.variant, pattern) for pattern in change.variants
        ):
            return f"version {change.version}: {change.reason}"
    return _why_other(experiment, identity)


def _why_other(experiment: Experiment, identity: Identity) -> str | None:
    """Return in what stored settings or data differ from today's."""
    stored, gone = migrated(experiment, identity.config)
    if gone:
        return gone
    overrides = {experiment.renamed.get(key, key): value for key, value in identity.overrides.items()}
    try:
        today = identify(experiment, identity.variant, identity.tier, identity.seed, overrides)
    except Exception as error:  # settings that are refused today
        return str(error)
    was, now = flat(stored), flat(today.config)
    for key in sorted({*was, *now}):
        if key not in now:
            return f"{key} is no longer declared"
        if was.get(key) != now[key]:
            return f"{key}: {shown(was.get(key))}, today {shown(now[key])}"
    changed = [
        path for path in {*identity.data, *today.data} if identity.data.get(path) != today.data.get(path)
    ]
    return f"other data: {', '.join(sorted(changed))}" if changed else None


def migrated(experiment: Experiment, stored: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return a stored config under today's names, completed by today's defaults, and why that can not be, if so."""
    config = {experiment.renamed.get(key, key): value for key, value in flat(stored).items()}
    for key, as_before in experiment.removed.items():
        value = config.pop(key, as_before)
        if canonical(value) != canonical(as_before):
            return {}, f"{key} = {shown(value)} is no longer there; today it is as for {shown(as_before)}"
    return {**flat(plain(experiment.config)), **config}, None
