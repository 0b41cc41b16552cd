"""Verdicts follow from records, claims and tiers, and from nothing else."""

import math
import re
import sys
from pathlib import Path

import pytest
from scipy.stats import t as student_t

from bench.claim import VERDICTS, Claim, _claims_file, find_claims, load_claims, read_claims
from bench.cli.main import main
from bench.errors import UserError
from bench.evidence import gather
from bench.experiment import TIERS, Experiment
from bench.identity import identify
from bench.metrics.catalogue import is_time
from bench.record import Measured, Record
from bench.registry import papers, registry
from bench.stats import Interval
from bench.verdict import judge, judge_all, scaled


def claim(**changes):
    fields = {
        "id": "c",
        "paper": "fake",
        "text": "t",
        "where": "w",
        "kind": "value",
        "source": "read",
        "value": 2.0,
        "experiment": "fake.act",
        "variant": "plain",
        "metric": "max_error",
    }
    return Claim(**(fields | changes))


@pytest.fixture(autouse=True)
def declared(fake_paper, monkeypatch):
    """Let the fake experiment declare three seeds."""
    seeds = dict.fromkeys(TIERS, 3)
    monkeypatch.setattr(Experiment, "planned_seeds", lambda self, tier: seeds[tier])
    return seeds


def judged(the_claim, plain=(2.0, 2.0, 2.0), double=(), tier="cpu", status="done"):
    groups = {}
    for variant, values in (("plain", plain), ("double", double)):
        for seed, value in enumerate(values):
            identity = identify(registry()["fake.act"], variant, "cpu", seed)
            object.__setattr__(identity, "tier", tier)
            metrics = {"max_error": Measured(value, "", "p"), "nfe": Measured(value, "evaluations", "p")}
            record = Record(identity, status, "why", metrics=metrics)
            groups.setdefault(("fake.act", variant), []).append(record)
    return judge(the_claim, groups)


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [(2.1, "reproduced"), (2.3, "not reproduced"), (1.0, "exceeded")],
)
def test_a_value_is_compared_within_its_tolerance_and_direction(fake_paper, measured, verdict):
    assert judged(claim(), plain=(measured,) * 3).verdict == verdict


def test_an_absolute_tolerance_and_a_scale(fake_paper):
    scaled = claim(scale=0.001, tolerance_abs=0.05)
    assert judged(scaled, plain=(2049.0,) * 3).verdict == "reproduced"
    assert judged(scaled, plain=(2051.0,) * 3).verdict == "not reproduced"
    assert judged(scaled, plain=(2040.0, 2045.0, 2055.0)).verdict == "inconclusive"  # astride the edge


def test_a_ratio_is_paired_by_seed(fake_paper):
    ratio = claim(kind="ratio", against={"variant": "double"}, value=0.5)
    verdict = judged(ratio, plain=(1.0, 10.0, 3.0), double=(2.0, 20.0, 6.0))
    assert verdict.verdict == "reproduced"
    assert verdict.values == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("double", "verdict"),
    [
        ((2.0, 2.1, 1.9), "reproduced"),
        ((0.5, 0.6, 0.5), "not reproduced"),
        ((2.0, 0.5, 1.0), "inconclusive"),
    ],
)
def test_an_order_needs_the_whole_interval(fake_paper, double, verdict):
    order = claim(kind="order", value=None, relation="<", against={"variant": "double"})
    assert judged(order, plain=(1.0, 1.0, 1.0), double=double).verdict == verdict


def test_an_undecided_order_says_so(fake_paper):
    order = claim(kind="order", value=None, relation="<", against={"variant": "double"})
    assert "includes the limit" in judged(order, plain=(1.0, 1.0, 1.0), double=(2.0, 0.5, 1.0)).reason


def test_a_bound(fake_paper):
    bound = claim(kind="bound", relation=">=", value=1.0)
    assert judged(bound, plain=(1.0, 1.0, 1.0)).verdict == "reproduced"
    assert judged(bound, plain=(0.9, 1.3, 1.0)).verdict == "inconclusive"


def test_a_lower_tier_never_settles(fake_paper):
    assert judged(claim(tier="gpu")).verdict == "scaled-down"
    assert judged(claim(tier="gpu"), tier="paper").verdict == "reproduced"


def test_without_a_finished_run_there_is_a_reason(fake_paper):
    assert judged(claim(not_run="too dear"), plain=()).reason == "too dear"
    failed = judged(claim(), status="diverged")
    assert (failed.verdict, failed.reason) == ("not run", "every run ended as diverged: why")


def test_a_difference_is_paired_and_knows_zero_and_negative_numbers(fake_paper):
    drop = claim(kind="order", relation="<", value=None, against={"variant": "double"}, difference=True)
    verdict = judged(drop, plain=(-1.0, -2.1, 0.0), double=(0.0, -1.0, 1.2))
    assert verdict.values == pytest.approx((-1.0, -1.1, -1.2))
    assert verdict.verdict == "reproduced"
    assert judged(drop, plain=(1.0, -1.1, 0.1), double=(0.0, 0.0, 0.0)).verdict == "inconclusive"
    within = claim(kind="bound", relation="<=", value=0.5, against={"variant": "double"}, difference=True)
    assert judged(within, plain=(0.1,) * 3, double=(0.0,) * 3).verdict == "reproduced"
    assert judged(within, plain=(0.8,) * 3, double=(0.0,) * 3).verdict == "not reproduced"


def test_smoke_and_stale_records_settle_nothing(fake_paper):
    for tier, overrides in (("smoke", {}), ("cpu", {"factor": 9.0})):
        identity = identify(registry()["fake.act"], "plain", tier, 0, overrides)
        record = Record(identity, "done", metrics={"max_error": Measured(2.0, "", "p")})
        (verdict,) = judge_all([claim()], [record])
        assert verdict.verdict == "not run"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("[[claim", "is not valid TOML"),
        ('[[claim]]\nid = "x"\n', "claim 'x'"),
        ("a = " + "[" * 10**5, "nested"),
        (None, "claim ids used twice: fake.double, fake.error"),
    ],
)
def test_a_broken_claims_file_is_left_out_named_and_stops_no_other(
    fake_paper, tmp_path, monkeypatch, capsys, content, fault
):
    own = _claims_file(papers()["fake"])
    others = [c for c in load_claims() if c.paper != "fake"]
    path = tmp_path / "claims.toml"
    whole = own.read_text()
    path.write_text(whole + whole[whole.index("[[claim]]") :] if content is None else content)
    monkeypatch.setattr(
        "bench.claim._claims_file", lambda m: path if m.__name__[:4] == "fake" else _claims_file(m)
    )
    claims, bad = find_claims()
    assert claims == others
    (line,) = bad
    assert line.startswith(str(path))
    assert fault in line
    assert "\n" not in line
    with pytest.raises(UserError, match=re.escape(line)):
        load_claims()
    (tmp_path / "records").mkdir()
    for words in (["claims"], ["power"], ["report", "--out", str(tmp_path / "out")]):
        folder = ["--records", str(tmp_path)] if words == ["power"] else [str(tmp_path)]
        monkeypatch.setattr(sys, "argv", ["cnf-bench", *words, *folder])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 3
        assert f"skipped: {line}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("kind = 'guess'", "kind must be one of"),
        ("experiment = 'fake.nope'", "no experiment"),
        ("variant = 'nope'", "has no variant"),
        ("metric = 'test_error'", "does not report"),
        ("colour = 'red'", "unknown key 'colour'"),
        ("verdict = 'reproduced'", "needs a note"),
        ("source = 'guess'", "source must be one of"),
        ("difference = true", "a difference needs"),
    ],
)
def test_a_claim_that_nothing_could_settle_is_refused(fake_paper, tmp_path, line, message):
    with pytest.raises(UserError, match=message):
        read_claims(written(tmp_path, line), "fake")


def test_a_documented_number_may_be_as_small_as_it_likes(fake_paper, tmp_path):
    (read,) = read_claims(written(tmp_path, "value = 1e-200", margin_reason="'m'"), "fake")
    assert read.value == 1e-200


def written(tmp_path, line, **more):
    """Write a claim, sound but for one line; return the file."""
    key = line.split(" ")[0]
    fields = {
        "id": "'c'", "text": "'t'", "where": "'w'", "kind": "'value'", "source": "'read'", "value": "1.0",
        "experiment": "'fake.act'", "variant": "'plain'", "metric": "'max_error'",
    }  # fmt: skip
    fields |= {key: line.split(" = ")[1]} | more
    path = tmp_path / "claims.toml"
    path.write_text("[[claim]]\n" + "\n".join(f"{k} = {v}" for k, v in fields.items()))
    return path


def test_a_recalled_number_wears_a_dagger(fake_paper):
    assert claim(source="recalled").documented == "2 †"
    assert claim(source="read").documented == "2"


def test_every_documented_number_has_a_verdict_and_a_reason_where_one_is_owed():
    verdicts = judge_all(load_claims(), [])
    documented = (Path(__file__).parents[1] / "documented_ids.txt").read_text().split()
    assert set(documented) <= {v.claim.id for v in verdicts}
    for v in verdicts:
        assert v.verdict in VERDICTS
        assert v.reason, v.claim.id


ABOUT_TIME = re.compile(r"\b(wall-clock|training time|forward time|faster|slower|speed\w*)\b")
OTHERWISE = re.compile(r"\b(evaluations|iterations|samples|discretisations|complexity|random end time)\b")


def test_a_claim_about_time_is_settled_by_times():
    """A count of evaluations or iterations may stand for the cost only where the claim says that it is a count."""
    claims = [c for c in load_claims() if c.experiment and ABOUT_TIME.search(c.text)]
    counted = [c for c in claims if OTHERWISE.search(c.text)]
    assert len(claims) > len(counted) > 0
    assert [c.id for c in claims if c not in counted and not is_time(c.metric)] == []


def record(
    variant: str, seed: int, value: float, status: str = "done", seeded_by=None, metric: str = "max_error"
):
    from dataclasses import replace

    identity = identify(registry()["fake.act"], variant, "cpu", seed)
    identity = replace(identity, seeded_by=seeded_by or identity.seeded_by)
    return Record(identity, status, "why", metrics={metric: Measured(value, "", "p")})


def test_numbers_of_two_derivations_of_seeds_are_never_put_together(fake_paper):
    old = {"schema": 1, "pairing": "x"}
    ratio = claim(kind="ratio", against={"variant": "double"}, value=0.5)
    runs = {
        ("fake.act", "plain"): [record("plain", s, 1.0, seeded_by=old) for s in range(3)],
        ("fake.act", "double"): [record("double", s, 2.0) for s in range(3)],
    }
    assert judge(ratio, runs).verdict == "not run"  # nothing to pair
    renewed = [*runs["fake.act", "plain"], record("plain", 0, 7.0)]
    assert judge(claim(), {("fake.act", "plain"): renewed}).values == (1.0, 1.0, 1.0)  # not all renewed yet
    renewed += [record("plain", 1, 7.0), record("plain", 2, 7.0)]
    assert judge(claim(), {("fake.act", "plain"): renewed}).values == (7.0, 7.0, 7.0)


def test_seeds_are_paired_only_where_each_shares_its_streams(fake_paper):
    other = {"task": "another"}
    ratio = claim(kind="ratio", against={"variant": "double"}, value=0.5)
    runs = {
        ("fake.act", "plain"): [record("plain", s, 1.0 + s) for s in range(3)],
        ("fake.act", "double"): [record("double", s, 2.0 + 2 * s, seeded_by=other) for s in (0,)]
        + [record("double", s, 2.0 + 2 * s) for s in (1, 2)],
    }
    evidence = gather(ratio, runs)
    assert evidence is not None
    assert not evidence.paired


def test_an_unpaired_quotient_is_that_of_geometric_means(fake_paper):
    other = {"task": "another"}
    runs = {
        ("fake.act", "plain"): [record("plain", s, x) for s, x in enumerate((1.0, 2.0, 4.0))],
        ("fake.act", "double"): [
            record("double", s, x, seeded_by=other) for s, x in enumerate((4.0, 8.0, 16.0))
        ],
    }
    found = judge(claim(kind="ratio", against={"variant": "double"}, value=0.25), runs)
    assert found.measured.mean == pytest.approx(0.25)
    half = (
        math.log(2) * math.sqrt(2 / 3) * student_t.ppf(0.975, 4)
    )  # of equal variances (log 2)^2, 3 seeds each
    assert found.measured.low == pytest.approx(0.25 * math.exp(-half))


def test_a_negative_factor_turns_an_interval_round():
    assert scaled(Interval(1.0, 0.5, 2.0, 3), -2.0) == Interval(-2.0, -4.0, -1.0, 3)
    assert scaled(Interval(1.0, None, 2.0, 3), -2.0) == Interval(-2.0, -4.0, None, 3)


def test_a_limit_that_is_met_exactly_counts_for_at_most_and_not_for_less(fake_paper):
    for relation, verdict in (
        ("<", "not reproduced"),
        ("<=", "reproduced"),
        (">", "not reproduced"),
        (">=", "reproduced"),
    ):
        bound = claim(kind="bound", relation=relation, value=2.0)
        found = judged(bound, plain=(2.0, 2.0, 2.0))
        assert (found.verdict, found.p) == (verdict, 0.0), relation


def test_only_a_value_can_be_exceeded_and_only_where_better_has_a_direction(fake_paper):
    assert (
        judged(claim(metric="nfe", checked="c"), plain=(1.0,) * 3).verdict == "exceeded"
    )  # fewer evaluations
    ratio = claim(kind="ratio", against={"variant": "double"}, value=1.0)
    assert judged(ratio, plain=(1.0,) * 3, double=(2.0,) * 3).verdict == "not reproduced"


def test_one_seed_settles_only_what_involves_no_chance(fake_paper, declared):
    declared["cpu"] = 1
    for changes in ({"kind": "bound", "relation": "<", "value": 3.0}, {}):
        verdict = judged(claim(**changes), plain=(2.0,))
        assert (verdict.verdict, verdict.reason) == ("inconclusive", "one seed gives no interval")
        assert judged(claim(deterministic=True, **changes), plain=(2.0,)).verdict == "reproduced"
    above = claim(deterministic=True, kind="bound", relation="<", value=2.0)
    assert judged(above, plain=(2.0,)).verdict == "not reproduced"


def test_the_json_of_a_verdict_holds_interval_and_seeds(fake_paper):
    from bench.verdict import to_json

    told = to_json(judged(claim(), plain=(1.99, 2.0, 2.01)))
    assert (told["measured"], told["n"], told["verdict"]) == (pytest.approx(2.0), 3, "reproduced")
    assert told["seeds"] == [1.99, 2.0, 2.01]
    assert told["low"] < 1.99 < 2.01 < told["high"]
    assert 0 < told["p"] < 0.05
    alone = to_json(judged(claim(), plain=(2.0,)))
    assert (alone["measured"], alone["low"], alone["high"]) == (2.0, None, None)
    assert to_json(judged(claim(not_run="r"), plain=()))["measured"] is None


def test_current_records_are_joined_by_experiment_and_variant(fake_paper):
    ratio = claim(kind="ratio", against={"variant": "double"}, value=0.5)
    found = [record(v, s, x) for v, x in (("plain", 1.0), ("double", 2.0)) for s in range(3)]
    (verdict,) = judge_all([ratio], found)
    assert (verdict.verdict, verdict.values) == ("reproduced", (0.5, 0.5, 0.5))


MISSED = "the 96 % interval includes the limit"


@pytest.mark.parametrize(
    ("relation", "values", "verdict", "reason"),
    [
        ("<", (1.0, 1.1, 0.9), "reproduced", ""),
        ("<", (3.0, 3.1, 2.9), "not reproduced", ""),  # the opposite holds
        ("<", (1.0, 2.0, 3.0), "inconclusive", MISSED),
        ("<", (2.0, 2.0, 2.0), "not reproduced", ""),
        ("<=", (3.0, 3.1, 2.9), "not reproduced", ""),
        ("<=", (1.0, 2.0, 3.0), "inconclusive", MISSED),
        (">", (3.0, 3.1, 2.9), "reproduced", ""),
        (">", (1.0, 1.1, 0.9), "not reproduced", ""),
        (">", (1.0, 2.0, 3.0), "inconclusive", MISSED),
        (">", (2.0, 2.0, 2.0), "not reproduced", ""),
        (">=", (1.0, 1.1, 0.9), "not reproduced", ""),
        (">=", (1.0, 2.0, 3.0), "inconclusive", MISSED),
    ],
)
def test_a_bound_says_whether_the_opposite_holds_or_nothing_does(
    fake_paper, relation, values, verdict, reason
):
    found = judged(claim(kind="bound", relation=relation, value=2.0), plain=values)
    assert (found.verdict, found.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("difference", "plain", "reason"),
    [
        (True, (0.5, 0.51, 0.49), ""),  # larger, though less than one larger
        (True, (-0.5, -0.51, -0.49), None),
        (False, (1.5, 1.51, 1.49), ""),  # larger, though less than twice as large
        (False, (0.5, 0.51, 0.49), None),
    ],
)
def test_sides_are_equal_at_a_difference_of_zero_and_a_quotient_of_one(fake_paper, difference, plain, reason):
    order = claim(
        kind="order", value=None, relation="<", against={"variant": "double"}, difference=difference
    )
    base = 0.0 if difference else 1.0
    found = judged(order, plain=plain, double=(base, base, base))
    assert found.verdict == ("reproduced" if reason is None else "not reproduced")
    assert found.reason == (reason or "")


def test_a_value_at_its_tolerance_is_reproduced_and_the_base_is_the_documented_number(fake_paper):
    half = claim(tolerance=0.5)
    assert judged(half, plain=(3.0,) * 3).verdict == "reproduced"  # 2 + 50 % of 2
    assert judged(half, plain=(3.001,) * 3).verdict == "not reproduced"  # though within 50 % of itself
    negative = claim(value=-2.0, tolerance=0.5)
    assert judged(negative, plain=(-3.0,) * 3).verdict == "reproduced"
    assert judged(negative, plain=(-3.1,) * 3).verdict == "exceeded"


@pytest.mark.parametrize("quotient", [0.4, 0.45, 0.5, 0.55, 0.6])
def test_a_quotient_and_its_reciprocal_have_one_verdict(fake_paper, quotient):
    one = claim(kind="ratio", against={"variant": "double"}, value=0.5)
    other = claim(kind="ratio", against={"variant": "double"}, value=2.0)
    a, b = (1.0, 2.0, 3.0), tuple(x / quotient for x in (1.0, 2.02, 2.98))
    found = judged(one, plain=a, double=b), judged(other, plain=b, double=a)
    assert found[0].verdict == found[1].verdict
    assert found[0].measured.low == pytest.approx(1 / found[1].measured.high)
    assert found[0].p == pytest.approx(found[1].p, rel=1e-4)


def test_the_p_value_of_an_equality_is_that_of_the_test_that_settles_it_doubled(fake_paper):
    """Within [1.8, 2.2], below or above: Student's t of three numbers with scatter 0.01."""
    for middle, distance in ((2.0, 0.2), (2.15, 0.05), (1.7, 0.1), (2.4, 0.2)):
        verdict = judged(claim(), plain=(middle - 0.01, middle, middle + 0.01))
        within = abs(middle - 2.0) < 0.2
        tail = student_t.sf(distance / (0.01 / math.sqrt(3)), 2)
        assert verdict.p == pytest.approx(
            1.25 * (2 if within else 4) * tail, rel=1e-4
        )  # 4 of 5 % at this look
    astride = judged(claim(), plain=(2.1, 2.2, 2.3))
    assert astride.verdict == "inconclusive"
    assert astride.p > 0.5  # though far from the lower edge


def test_a_quotient_of_positive_numbers_has_no_interval_below_zero(fake_paper):
    order = claim(kind="order", value=None, relation="<", against={"variant": "double"})
    verdict = judged(order, plain=(0.1, 5.0, 0.2), double=(1.0, 1.0, 1.0))
    assert verdict.measured.low > 0
    assert verdict.measured.mean == pytest.approx(0.1 ** (1 / 3))  # the geometric mean of 0.1, 5 and 0.2


def test_a_quotient_by_a_mean_that_may_be_zero_is_refused(fake_paper):
    ratio = claim(kind="ratio", against={"variant": "double"}, value=0.5)
    verdict = judged(ratio, plain=(1.0, 2.0, 3.0), double=(-1.0, 0.0, 1.5))
    assert verdict.verdict == "inconclusive"
    assert "denominator may be zero" in verdict.reason
    assert judged(ratio, plain=(-1.0, -1.01, -0.99), double=(-2.0, -2.0, -2.0)).verdict == "reproduced"


@pytest.mark.parametrize(
    ("metric", "measured", "verdict"),
    [
        ("test_accuracy", 3.0, "exceeded"),  # higher is better
        ("test_accuracy", 1.0, "not reproduced"),
        ("max_error", 1.0, "exceeded"),
        ("max_error", 3.0, "not reproduced"),
        ("nfe_ratio", 1.0, "not reproduced"),  # neither is better
        ("nfe_ratio", 3.0, "not reproduced"),
    ],
)
def test_what_is_better_is_the_metrics_own(fake_paper, metric, measured, verdict):
    runs = {("fake.act", "plain"): [record("plain", s, measured, metric=metric) for s in range(3)]}
    assert judge(claim(metric=metric), runs).verdict == verdict


def test_the_highest_tier_with_records_settles(fake_paper):
    runs = [record("plain", seed, 9.0) for seed in range(3)]
    for seed in range(3):
        runs.append(record("plain", seed, 2.0))
        object.__setattr__(runs[-1].identity, "tier", "gpu")
    found = judge(claim(), {("fake.act", "plain"): runs})
    assert (found.verdict, found.tier, found.values) == ("reproduced", "gpu", (2.0, 2.0, 2.0))
