"""A documented number or statement and its source: the schema of `claims.toml`, and its reading."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.experiment import TIERS
from bench.margin import read_margins, with_reasons
from bench.metrics.catalogue import split_key
from bench.registry import papers, registry
from bench.settings import read_toml, suggest

LARGEST, LONGEST = 1e100, 10_000
"""Limits of the numbers and of the texts of a claim."""
RELATIONS = ("", "<", ">", "<=", ">=", "~")
ORDERS = ("<", ">", "<=", ">=")
"""Relations that a limit settles, and no margin."""
KINDS = ("value", "ratio", "order", "scaling", "bound", "text")
SOURCES = ("read", "derived", "second-hand", "recalled")
VERDICTS = (
    "reproduced", "exceeded", "not reproduced", "inconclusive",
    "scaled-down", "not run", "out of scope", "impossible",
)  # fmt: skip
STATED = ("impossible", "out of scope")
"""Verdicts that a claim of any kind may state, with the reason in its note."""
LABELS = ("own setting", "transfer", "derived", "by construction")
"""What kind of evidence settles a claim: the published data, network and length; the same claim on other data, scale
or device; a number computed from the authors' code; a definition or closed form, which no training could miss."""


@dataclass(frozen=True)
class Claim:
    """A documented number or statement, as a paper's `claims.toml` holds it.

    Args:
        id: the id of the reference tables.
        paper: key of the paper or tutorial.
        text: the claim in one line.
        where: table, figure or line of the source.
        kind: `value` (measured equals documented), `ratio` (of two measurements), `order` (one is smaller or
            larger than the other), `scaling` (a fitted exponent or slope), `bound` (at most or at least), or
            `text` (settled by an argument: `verdict` and `note` are stated).
        source: `read`, `derived` (from the authors' code), `second-hand` or `recalled` (shown with a dagger).
        value: documented number; None for `order` and `text`.
        shown: what the source prints where that is no plain number.
        spread: documented spread.
        unit: documented unit.
        scale: measured value x scale is in the documented unit.
        tolerance: relative deviation within which `value` and `ratio` count as equal, on the log scale for quotients.
        tolerance_abs: absolute deviation, in the documented unit; used in place of `tolerance`.
        relation: `<`, `>`, `<=`, `>=` or `~` (equal within tolerance), for `order` and `bound`.
        experiment: the experiment that settles it.
        variant: the variant whose metric is compared.
        metric: metric key, `name` or `name[qualifier]`.
        against: what it is compared with, for `ratio` and `order`: `variant`, `metric`, or both.
        difference: compare by the paired difference, measured minus `against`, and not by the quotient; for numbers
            that may be negative or have no natural zero, such as a log-likelihood.
        margin_reason: why that deviation is the right one, stated before the runs; where it is absent, that of the
            `[[margin]]` of the file which has the metric and the deviation, or the spread that the source prints.
        across: why numbers of two protocols may be compared here, for example that the solvers are what is compared.
        checked: what stands for the check that the flow inverts, where the claim counts evaluations without one.
        deterministic: the number involves no chance (a count, exact memory), so that one seed settles it.
        device: what the source measured a time or a memory on, where that is not a GPU: `cpu`.
        label: one of `LABELS`, where it does not follow from the source and the setting.
        headline: the source's abstract or conclusion rests on it; shown first, whatever its verdict is.
        tier: the lowest tier that can settle it.
        verdict: stated verdict, for `text`, `impossible` and `out of scope` only.
        note: why the verdict is what it is; what is wrong with the claim; the proof where it is impossible.
        not_run: why no run settles it (data, cost).
    """

    id: str
    paper: str
    text: str
    where: str
    kind: str
    source: str
    value: float | None = None
    shown: str = ""
    spread: str = ""
    unit: str = ""
    scale: float = 1.0
    tolerance: float = 0.1
    tolerance_abs: float | None = None
    relation: str = ""
    experiment: str = ""
    variant: str = ""
    metric: str = ""
    against: Mapping[str, str] = dataclasses.field(default_factory=dict)
    difference: bool = False
    margin_reason: str = ""
    across: str = ""
    checked: str = ""
    deterministic: bool = False
    device: str = ""
    label: str = ""
    headline: bool = False
    tier: str = "cpu"
    verdict: str = ""
    note: str = ""
    not_run: str = ""

    @property
    def equates(self) -> bool:
        """Whether records settle it by an equality within its margin."""
        return bool(self.experiment) and not self.verdict and self.relation not in ORDERS

    @property
    def equality(self) -> float:
        """What the comparison gives where both sides are equal."""
        return 0.0 if self.difference else 1.0

    @property
    def limit(self) -> float:
        """The number that an order or a bound compares with."""
        return self.equality if self.value is None else self.value

    @property
    def margin(self) -> tuple[float, float]:
        """The range that counts as equal to the documented number; for quotients that of 1/q is its reciprocal."""
        target = self.limit
        if self.tolerance_abs is not None:
            return target - self.tolerance_abs, target + self.tolerance_abs
        if self.against and not self.difference and target > 0:
            return target / (1 + self.tolerance), target * (1 + self.tolerance)
        return target - self.tolerance * abs(target), target + self.tolerance * abs(target)

    @property
    def documented(self) -> str:
        """The documented value as text, with its unit, and a dagger where it is only recalled."""
        number = self.shown or ("" if self.value is None else f"{self.value:g}")
        body = " ".join(part for part in (self.relation, number, self.spread, self.unit) if part)
        return body + (" †" if self.source == "recalled" else "")


def find_claims() -> tuple[list[Claim], list[str]]:
    """Return every claim of every paper, and a line for each claims file that is left out.

    Left out is a file that is malformed, that names an experiment, variant or metric that does not exist, or that has
    the id of a claim of a paper before it.
    """
    found: dict[str, Claim] = {}
    bad = []
    for paper, module in papers().items():
        try:
            claims = _own_claims(module, paper, found)
        except UserError as error:
            bad.append(str(error))
            continue
        found |= {claim.id: claim for claim in claims}
    return list(found.values()), bad


def _own_claims(module: Any, paper: str, others: Mapping[str, Claim]) -> list[Claim]:
    """Return the claims of one paper, whose ids are their own."""
    path = _claims_file(module)
    claims = read_claims(path, paper)
    ids = [claim.id for claim in claims]
    twice = sorted({claim_id for claim_id in ids if claim_id in others or ids.count(claim_id) > 1})
    if twice:
        raise UserError(f"{path}: claim ids used twice: {', '.join(twice)}")
    return claims


def load_claims() -> list[Claim]:
    """Return every claim of every paper.

    Raises:
        UserError: a claims file is left out by `find_claims`.
    """
    claims, bad = find_claims()
    if bad:
        raise UserError(bad[0])
    return claims


def _claims_file(module: Any) -> Path:
    """Return the claims file in the folder of a module that declares experiments, or in the one above."""
    folder = Path(module.__file__).parent
    return next(
        (path for path in (folder / "claims.toml", folder.parent / "claims.toml") if path.is_file()),
        folder / "claims.toml",
    )


def read_claims(path: Path, paper: str) -> list[Claim]:
    """Read one claims file: a list of `[[claim]]` tables, and the `[[margin]]` tables that they share.

    Raises:
        UserError: the file is malformed or names an experiment, variant or metric that does not exist.
    """
    known = {f.name for f in dataclasses.fields(Claim)}
    claims = []
    tree = read_toml(path)
    tables: Any = tree.get("claim", [])
    if tree.keys() - {"claim", "margin"} or not isinstance(tables, list):
        raise UserError(f"{path}: it holds other things than [[claim]] and [[margin]] tables")
    for place, table in enumerate(tables):
        if not isinstance(table, dict):
            raise UserError(f"{path}: claim number {place + 1} is no table")
        name = f"{path}: claim {table.get('id', place + 1)!r:.80}"
        for key in table:
            if key not in known:
                raise UserError(f"{name}: unknown key {key!r}; {suggest(key, known)}")
        _check_types(table, name)
        try:
            claim = Claim(**{"paper": paper, **table})
        except TypeError as error:
            raise UserError(f"{name}: {error}") from error
        check(claim, name)
        claims.append(claim)
    return with_reasons(claims, read_margins(tree.get("margin", []), str(path)), str(path))


def _check_types(table: Mapping[str, Any], name: str) -> None:
    """Refuse a value of another type than its field's, and numbers beyond `LARGEST`."""
    types = {f.name: str(f.type) for f in dataclasses.fields(Claim)}
    for key, value in table.items():
        kind = types.get(key, "str")
        if "float" in kind:
            _check_number(key, value, name)
        elif kind == "bool":
            if not isinstance(value, bool):
                raise UserError(f"{name}: {key} must be true or false, not {value!r:.60}")
        elif key == "against":
            if not isinstance(value, dict) or not value.keys() <= {"variant", "metric"}:
                raise UserError(f"{name}: against must have a variant, a metric or both, not {value!r:.60}")
            _check_types({f"against.{inner}": text for inner, text in value.items()}, name)
        elif not isinstance(value, str) or len(value) > LONGEST or (key == "id" and not value.strip()):
            raise UserError(f"{name}: {key} must be a text, not {value!r:.60}")


def _check_number(key: str, value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise UserError(f"{name}: {key} must be a number of at most {LARGEST:g}, not {value!r:.60}")
    if key != "value" and (0 < abs(value) < 1 / LARGEST or (key == "scale" and value == 0)):
        raise UserError(f"{name}: {key} must not be so small as {value!r:.60}")
    if key.startswith("tolerance") and value < 0:
        raise UserError(f"{name}: {key} must not be negative")


def check(claim: Claim, name: str) -> None:
    """Refuse a claim that no record could ever settle."""
    runs = bool(claim.experiment)
    numeric = claim.kind in ("value", "ratio", "scaling", "bound")
    fixed = claim.kind == "text" or claim.verdict in STATED
    problems = [
        (claim.relation not in RELATIONS, f"relation must be one of {', '.join(RELATIONS[1:])}"),
        (claim.kind not in KINDS, f"kind must be one of {', '.join(KINDS)}"),
        (claim.source not in SOURCES, f"source must be one of {', '.join(SOURCES)}"),
        (claim.tier not in TIERS, f"tier must be one of {', '.join(TIERS)}"),
        (claim.verdict not in ("", *VERDICTS), f"verdict must be one of {', '.join(VERDICTS)}"),
        (claim.label not in ("", *LABELS), f"label must be one of {', '.join(LABELS)}"),
        (claim.device not in ("", "cpu"), "device must be cpu, or absent where a GPU was used"),
        (bool(claim.across) and not claim.against, "`across` needs `against`"),
        (bool(claim.verdict) and not claim.note, "a stated verdict needs a note that gives the reason"),
        (
            bool(claim.verdict) and not fixed,
            f"only a text claim, or one that is {' or '.join(STATED)}, may state its verdict",
        ),
        (numeric and claim.value is None and not (claim.not_run or fixed), "needs a value"),
        (claim.kind in ("ratio", "order") and runs and not claim.against, "needs `against`"),
        (claim.difference and not claim.against, "a difference needs `against`"),
        (claim.kind in ("order", "bound") and runs and not claim.relation, "needs `relation`"),
        (not (runs or claim.verdict or claim.not_run), "needs experiment, verdict or not_run"),
    ]
    for wrong, message in problems:
        if wrong:
            raise UserError(f"{name}: {message}")
    if claim.experiment:
        _check_references(claim, name)


def _check_references(claim: Claim, name: str) -> None:
    experiment = registry().get(claim.experiment)
    if experiment is None:
        raise UserError(
            f"{name}: no experiment {claim.experiment!r}; {suggest(claim.experiment, registry())}"
        )
    for variant in (claim.variant, claim.against.get("variant", claim.variant)):
        if variant not in experiment.variants:
            raise UserError(f"{name}: {claim.experiment} has no variant {variant!r}")
    for key in (claim.metric, claim.against.get("metric", claim.metric)):
        try:
            reported = split_key(key)[0] in experiment.metrics
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        if not reported:
            raise UserError(f"{name}: {claim.experiment} does not report {key!r:.80}")
