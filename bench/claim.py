"""A documented number or statement, its source, and the verdict that records give on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.experiment import TIERS, papers, read_toml, registry, suggest
from bench.metrics.catalogue import metric as catalogued
from bench.metrics.catalogue import split_key
from bench.record import Identity, Record, identify
from bench.stats import Interval, mean_interval

KINDS = ("value", "ratio", "order", "scaling", "bound", "text")
SOURCES = ("read", "derived", "second-hand", "recalled")
VERDICTS = ("reproduced", "exceeded", "not reproduced", "scaled-down", "not run", "impossible")


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
        tolerance: relative deviation within which `value` and `ratio` count as reproduced.
        tolerance_abs: absolute deviation, in the documented unit; used in place of `tolerance`.
        relation: `<`, `>`, `<=`, `>=` or `~` (equal within tolerance), for `order` and `bound`.
        experiment: the experiment that settles it.
        variant: the variant whose metric is compared.
        metric: metric key, `name` or `name[qualifier]`.
        against: what it is compared with, for `ratio` and `order`: `variant`, `metric`, or both.
        difference: compare by the paired difference, measured minus `against`, and not by the quotient; for numbers
            that may be negative or have no natural zero, such as a log-likelihood.
        tier: the lowest tier that can settle it.
        verdict: stated verdict, for `text` and `impossible` only.
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
    tier: str = "cpu"
    verdict: str = ""
    note: str = ""
    not_run: str = ""

    @property
    def equality(self) -> float:
        """What the comparison gives where both sides are equal."""
        return 0.0 if self.difference else 1.0

    @property
    def documented(self) -> str:
        """The documented value as text, with its unit, and a dagger where it is only recalled."""
        number = self.shown or ("" if self.value is None else f"{self.value:g}")
        body = " ".join(part for part in (self.relation, number, self.spread, self.unit) if part)
        return body + (" †" if self.source == "recalled" else "")


@dataclass(frozen=True)
class Verdict:
    """What the records say of a claim: the verdict, the measured interval in the documented unit, and why."""

    claim: Claim
    verdict: str
    measured: Interval | None = None
    values: tuple[float, ...] = ()
    tier: str = ""
    protocol: str = ""
    reason: str = ""


def load_claims() -> list[Claim]:
    """Return every claim of every paper.

    Raises:
        UserError: a claims file is malformed or names an experiment, variant or metric that does not exist.
    """
    found = []
    for paper, module in papers().items():
        found += read_claims(_claims_file(module), paper)
    duplicates = {c.id for c in found if sum(c.id == d.id for d in found) > 1}
    if duplicates:
        raise UserError(f"claim ids used twice: {', '.join(sorted(duplicates))}")
    return found


def _claims_file(module: Any) -> Path:
    """Return the claims file in the folder of a module that declares experiments, or in the one above."""
    folder = Path(module.__file__).parent
    return next(
        (path for path in (folder / "claims.toml", folder.parent / "claims.toml") if path.is_file()),
        folder / "claims.toml",
    )


def read_claims(path: Path, paper: str) -> list[Claim]:
    """Read one claims file: a list of `[[claim]]` tables.

    Raises:
        UserError: see `load_claims`.
    """
    known = {f.name for f in dataclasses.fields(Claim)}
    claims = []
    for table in read_toml(path).get("claim", []):
        name = f"{path}: claim {table.get('id', '?')!r}"
        for key in table:
            if key not in known:
                raise UserError(f"{name}: unknown key {key!r}; {suggest(key, known)}")
        try:
            claim = Claim(**({"paper": paper} | table))
        except TypeError as error:
            raise UserError(f"{name}: {error}") from error
        check(claim, name)
        claims.append(claim)
    return claims


def check(claim: Claim, name: str) -> None:
    """Refuse a claim that no record could ever settle."""
    runs = bool(claim.experiment)
    numeric = claim.kind in ("value", "ratio", "scaling", "bound")
    fixed = claim.kind == "text" or claim.verdict == "impossible"
    problems = [
        (claim.kind not in KINDS, f"kind must be one of {', '.join(KINDS)}"),
        (claim.source not in SOURCES, f"source must be one of {', '.join(SOURCES)}"),
        (claim.tier not in TIERS, f"tier must be one of {', '.join(TIERS)}"),
        (claim.verdict not in ("", *VERDICTS), f"verdict must be one of {', '.join(VERDICTS)}"),
        (bool(claim.verdict) and not claim.note, "a stated verdict needs a note that gives the reason"),
        (bool(claim.verdict) and not fixed, "only a text claim, or an impossible one, may state its verdict"),
        (numeric and claim.value is None and not claim.not_run, "needs a value"),
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
        if split_key(key)[0] not in experiment.metrics:
            raise UserError(f"{name}: {claim.experiment} does not report {key!r}")


def current(records: Iterable[Record]) -> list[Record]:
    """Return the records of declared runs: identity equal to the present definition's, tier above smoke."""
    return [r for r in records if r.identity.tier != "smoke" and is_current(r.identity)]


def is_current(identity: Identity) -> bool:
    """Whether an identity is the one the present declaration gives."""
    experiment = registry().get(identity.experiment)
    if (
        experiment is None
        or identity.variant not in experiment.variants
        or not experiment.offers(identity.variant, identity.tier)
    ):
        return False
    return identify(experiment, identity.variant, identity.tier, identity.seed).id == identity.id


def judge_all(claims: Sequence[Claim], records: Iterable[Record]) -> list[Verdict]:
    """Return the verdict on every claim, in order."""
    by_variant: dict[tuple[str, str], list[Record]] = {}
    for record in current(records):
        by_variant.setdefault((record.identity.experiment, record.identity.variant), []).append(record)
    return [judge(claim, by_variant) for claim in claims]


def judge(claim: Claim, by_variant: Mapping[tuple[str, str], Sequence[Record]]) -> Verdict:
    """Return the verdict on one claim from the current records, grouped by (experiment, variant).

    The highest tier with records is used. Below the claim's own tier the verdict is `scaled-down`, whatever
    the numbers are.
    """
    if claim.verdict:
        return Verdict(claim, claim.verdict, reason=claim.note)
    if not claim.experiment:
        return Verdict(claim, "not run", reason=claim.not_run)
    other = claim.against.get("variant", claim.variant)
    records = by_variant.get((claim.experiment, claim.variant), [])
    others = by_variant.get((claim.experiment, other), [])
    for tier in reversed(TIERS):
        of_tier = [r for r in records if r.identity.tier == tier]
        pairs = _pairs(claim, of_tier, others)
        if pairs:
            return _settle(claim, tier, pairs, of_tier)
    failed = [r for r in records if r.status != "done"]
    reason = f"every run ended as {failed[0].status}: {failed[0].message}" if failed else claim.not_run
    return Verdict(claim, "not run", reason=reason or "no record that measures it yet")


def _pairs(claim: Claim, records: Sequence[Record], others: Sequence[Record]) -> list[tuple[float, float]]:
    """(measured, compared with) of every seed that has both, in seed order; 1 where nothing is compared."""
    by_seed = {(r.identity.tier, r.identity.seed): r for r in others}
    pairs = []
    for record in sorted(records, key=lambda r: r.identity.seed):
        value = record.value(claim.metric)
        partner = by_seed.get((record.identity.tier, record.identity.seed))
        base = partner.value(claim.against.get("metric", claim.metric)) if partner else None
        if not claim.against:
            base = 1.0
        if value is None or base is None or record.status != "done":
            continue
        if base != 0 or claim.difference:
            pairs.append((value, base))
    return pairs


def _settle(claim: Claim, tier: str, pairs: list[tuple[float, float]], records: Sequence[Record]) -> Verdict:
    values = tuple((a - b if claim.difference else a / b) * claim.scale for a, b in pairs)
    interval = mean_interval(values)
    protocols = sorted({r.metrics[claim.metric].protocol for r in records if claim.metric in r.metrics})
    verdict, reason = _compare(claim, interval)
    if claim.relation in ("<", ">", "<=", ">=") and len(values) == 1:
        verdict, reason = "scaled-down", "one seed gives no interval"
    lost = [r.status for r in records if r.status != "done"]
    if lost:
        reason = "; ".join(
            filter(None, (reason, f"{len(lost)} of {len(records)} runs ended {', '.join(lost)}"))
        )
    if TIERS.index(tier) < TIERS.index(claim.tier):
        verdict, reason = "scaled-down", f"ran at tier {tier}; the claim needs {claim.tier}"
    reason = "; ".join(part for part in (reason, claim.note) if part)
    return Verdict(claim, verdict, interval, values, tier, ", ".join(protocols), reason)


def _compare(claim: Claim, interval: Interval) -> tuple[str, str]:
    low = interval.mean if interval.low is None else interval.low
    high = interval.mean if interval.high is None else interval.high
    if claim.relation in ("<", ">", "<=", ">="):
        limit = claim.equality if claim.value is None else claim.value
        below = claim.relation.startswith("<")
        holds = {"<": high < limit, "<=": high <= limit, ">": low > limit, ">=": low >= limit}[claim.relation]
        opposite = low > limit if below else high < limit
        if holds:
            return "reproduced", ""
        return "not reproduced", "" if opposite else "the 95 % interval includes the limit"
    target = claim.equality if claim.value is None else claim.value
    allowed = claim.tolerance * abs(target) if claim.tolerance_abs is None else claim.tolerance_abs
    if abs(interval.mean - target) <= allowed:
        return "reproduced", ""
    if _better(claim, interval.mean, target):
        return "exceeded", ""
    return "not reproduced", ""


def _better(claim: Claim, measured: float, documented: float) -> bool:
    direction = catalogued(split_key(claim.metric)[0]).direction
    if claim.kind != "value" or direction == "none":
        return False
    return measured < documented if direction == "lower" else measured > documented


def to_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON-able data: the stable output of `cnf-bench claims --json`."""
    claim, interval = verdict.claim, verdict.measured
    return {
        "id": claim.id,
        "paper": claim.paper,
        "where": claim.where,
        "claim": claim.text,
        "kind": claim.kind,
        "source": claim.source,
        "documented": claim.documented,
        "verdict": verdict.verdict,
        "measured": None if interval is None else interval.mean,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "seeds": list(verdict.values),
        "unit": claim.unit,
        "tier": verdict.tier,
        "experiment": claim.experiment,
        "reason": verdict.reason,
    }
