"""What may settle a claim: the planned seeds, one protocol, one machine, and no seed lost unseen."""

from __future__ import annotations

import dataclasses

import pytest

from bench.claim import Claim
from bench.errors import UserError
from bench.evidence import gather, label
from bench.experiment import TIERS, Departure, Experiment
from bench.identity import identify
from bench.record import Measured, Record
from bench.registry import registry
from bench.verdict import judge, with_discoveries

pytestmark = pytest.mark.usefixtures("declared")

OF_METRIC = {"max_error": "", "nfe": "evaluations", "train_time": "s", "test_accuracy": "%", "end_time": ""}


@pytest.fixture
def declared(fake_paper, monkeypatch):
    """Let the fake experiment declare three seeds."""
    seeds = dict.fromkeys(TIERS, 3)
    monkeypatch.setattr(Experiment, "planned_seeds", lambda self, tier: seeds[tier])
    return seeds


def claim(**changes):
    fields = {"id": "c", "paper": "fake", "text": "t", "where": "w", "kind": "order", "source": "read"}
    fields |= {"experiment": "fake.act", "variant": "plain", "metric": "max_error", "relation": "<"}
    return Claim(**(fields | {"against": {"variant": "double"}} | changes))


def run(variant="plain", seed=0, value=1.0, metric="max_error", protocol="p", status="done", **environment):
    identity = identify(registry()["fake.act"], variant, "cpu", seed)
    metrics = {} if value is None else {metric: Measured(value, OF_METRIC[metric], protocol)}
    environment = {"jobs": 1, "shared": None} | environment
    return Record(identity, status, "why", metrics=metrics, environment=environment)


def verdict(the_claim, *records):
    groups = {}
    for record in records:
        groups.setdefault((record.identity.experiment, record.identity.variant), []).append(record)
    return judge(the_claim, groups)


def both(plain=1.0, double=2.0, **changes):
    return [
        *(run("plain", s, plain, **changes) for s in range(3)),
        *(run("double", s, double, **changes) for s in range(3)),
    ]


def test_all_declared_seeds_settle_fewer_do_not_and_further_ones_are_left_out(declared):
    assert verdict(claim(), *both()).verdict == "reproduced"
    few = verdict(claim(), *both()[:-1])
    assert (few.verdict, few.reason) == ("inconclusive", "2 of the 3 declared seeds have been run")
    more = verdict(claim(), *both(), run("plain", 3, 100.0), run("double", 3, 1.0))
    assert (more.verdict, more.values) == ("reproduced", (0.5, 0.5, 0.5))
    declared["cpu"] = 4
    assert verdict(claim(), *both()).reason == "3 of the 4 declared seeds have been run"


def test_seeds_measured_in_two_ways_are_not_averaged():
    records = [*both()[1:], run("plain", 0, 1.0, protocol="q")]
    found = verdict(claim(), *records)
    assert (found.verdict, found.reason) == ("inconclusive", "its seeds were measured in 2 ways: p, q")


def test_two_protocols_are_compared_only_where_the_claim_says_why():
    records = [*both()[:3], *(run("double", s, 2.0, protocol="q") for s in range(3))]
    found = verdict(claim(), *records)
    assert (found.verdict, found.reason) == ("inconclusive", "two protocols are compared: p with q")
    assert verdict(claim(across="the solvers are what is compared"), *records).verdict == "reproduced"


@pytest.mark.parametrize(("metric", "settled"), [("train_time", "inconclusive"), ("max_error", "reproduced")])
@pytest.mark.parametrize(
    "other",
    [
        {"cpu": "another", "threads": 1},
        {"cpu": "one", "threads": 2},
        {"gpu": {"name": "a GPU"}, "threads": 1},
    ],
)
def test_times_of_two_machines_are_not_put_together(metric, settled, other):
    records = both(metric=metric, cpu="one", threads=1)
    assert verdict(claim(metric=metric), *records).verdict == "reproduced"
    records[0] = run("plain", 0, 1.0, metric=metric, **other)
    found = verdict(claim(metric=metric), *records)
    assert found.verdict == settled
    assert found.verdict == "reproduced" or found.reason.startswith("measured on 2 machines")


@pytest.mark.parametrize("end", ["diverged", "timeout", "nfe-budget", "no number"])
def test_a_lost_seed_counts_against_its_own_side(end):
    """Lower is better: a lost seed of a side may be larger than any number."""
    gone = {"value": None} if end == "no number" else {"status": end}
    lost_plain = [run("plain", 0, **({"value": 1.0} | gone)), *both()[1:]]
    lost_double = [*both()[:-1], run("double", 2, **({"value": 2.0} | gone))]
    assert verdict(claim(), *lost_plain).verdict == "inconclusive"
    assert verdict(claim(), *lost_double).verdict == "reproduced"
    more = claim(relation=">")
    assert verdict(more, *lost_plain).verdict == "inconclusive"  # `plain` may be larger yet
    assert verdict(more, *lost_double).verdict == "not reproduced"
    found = verdict(claim(), *lost_double)
    assert found.measured.n == 2
    assert f"double: 1 of 3 seeds lost ({end})" in found.reason


def test_where_higher_is_better_a_lost_seed_may_be_lower_than_any_number():
    accuracy = claim(metric="test_accuracy", relation=">")
    records = both(plain=2.0, double=1.0, metric="test_accuracy")
    assert verdict(accuracy, *records).verdict == "reproduced"
    records[0] = run("plain", 0, 2.0, metric="test_accuracy", status="diverged")
    assert verdict(accuracy, *records).verdict == "inconclusive"


def test_where_neither_is_better_and_where_numbers_should_be_equal_a_lost_seed_leaves_it_open():
    records = both(metric="end_time")
    records[0] = run("plain", 0, 1.0, metric="end_time", status="diverged")
    assert verdict(claim(metric="end_time"), *records).verdict == "inconclusive"
    equal = claim(kind="ratio", relation="", value=0.5)
    assert verdict(equal, *both()).verdict == "reproduced"
    assert verdict(equal, run("plain", 0, 1.0, status="oom"), *both()[1:]).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("error", "protocol", "settled"),
    [
        (9e-4, "dopri5-1e-5/Euclidean", True),
        (1.1e-3, "dopri5-1e-5/Euclidean", False),
        (0.09, "dopri5-1e-3", True),
        (0.11, "dopri5-1e-3", False),
        (9e-4, "rk4-18", True),
        (1.1e-3, "rk4-18", False),
        (None, "", False),
    ],
)
def test_evaluations_count_only_beside_a_flow_that_inverts(error, protocol, settled):
    records = both(metric="nfe")
    for record in records:
        record.metrics["inversion_error"] = Measured(1e-9, "", "dopri5-1e-5")
    counts = claim(metric="nfe")
    assert verdict(counts, *records).verdict == "reproduced"
    if error is None:
        del records[-1].metrics["inversion_error"]
    else:
        records[-1].metrics["inversion_error"] = Measured(error, "", protocol)
    found = verdict(counts, *records)
    assert found.verdict == ("reproduced" if settled else "inconclusive")
    assert settled or ("double seed 2 misses" in found.reason) == (error is not None)
    assert verdict(claim(metric="nfe", checked="a closed form"), *records).verdict == "reproduced"


def test_without_one_number_a_run_says_how_it_ended():
    found = verdict(claim(), *(run("plain", s, 1.0, status="diverged") for s in range(3)))
    assert (found.verdict, found.reason) == ("not run", "every run ended as diverged: why")


def test_seeds_that_share_no_streams_are_not_paired():
    records = both()
    for record in records[3:]:
        seeded_by = {"task": "another", "seed": record.identity.seed}
        record.identity = dataclasses.replace(record.identity, seeded_by=seeded_by)
    assert verdict(claim(), *records).values == ()
    spread = [run("plain", s, x) for s, x in enumerate((1.0, 2.0, 4.0))]
    paired = verdict(claim(), *spread, *(run("double", s, 2 * x) for s, x in enumerate((1.0, 2.0, 4.0))))
    assert paired.verdict == "reproduced"  # each quotient is 1/2
    for i, record in enumerate(records[3:]):
        record.metrics["max_error"] = Measured(2.0 * 2**i, "", "p")
    assert verdict(claim(), *spread, *records[3:]).verdict == "inconclusive"
    difference = claim(difference=True, relation=">", value=None)
    assert verdict(difference, *spread, *records[3:]).verdict == "inconclusive"


def evidence(the_claim, *records):
    found = gather(the_claim, {("fake.act", "plain"): [r for r in records if r.identity.variant == "plain"]})
    assert found is not None
    return found


def test_labels_follow_from_source_setting_and_device(monkeypatch):
    value = claim(kind="value", relation="", value=1.0, against={})
    monkeypatch.setattr(Experiment, "at_published_setting", lambda self, variant, tier: False)
    assert label(value, evidence(value, run())) == "transfer"
    monkeypatch.setattr(Experiment, "at_published_setting", lambda self, variant, tier: True)
    assert label(value, evidence(value, run())) == "own setting"
    derived = dataclasses.replace(value, source="derived")
    assert label(derived, evidence(derived, run())) == "derived"
    closed = dataclasses.replace(derived, label="by construction")
    assert label(closed, evidence(closed, run())) == "by construction"
    time = dataclasses.replace(value, metric="train_time")
    on_cpu = evidence(time, run(metric="train_time", device="cpu"))
    assert label(time, on_cpu) == "transfer"  # the source measured on a GPU
    assert label(dataclasses.replace(time, device="cpu"), on_cpu) == "own setting"
    assert label(time, evidence(time, run(metric="train_time", device="cuda:0"))) == "own setting"


def test_a_tier_is_the_published_setting_where_it_changes_nothing():
    experiment = registry()["fake.act"]
    plain = dataclasses.replace(experiment, tiers={"cpu": {}, "smoke": {"factor": 9.0}})
    assert plain.at_published_setting("plain", "cpu")
    assert not plain.at_published_setting("plain", "smoke")
    assert not plain.at_published_setting("plain", "paper")  # not offered
    other = next(v for v in plain.variants if v != "plain")
    departing = dataclasses.replace(
        plain, departures=(Departure("other data"), Departure("less of it", (other,)))
    )
    assert not departing.at_published_setting("plain", "cpu")
    assert departing.departures_of("plain") == ("other data",)
    assert departing.departures_of(other) == ("other data", "less of it")
    less = dataclasses.replace(departing, departures=departing.departures[1:])
    assert less.at_published_setting("plain", "cpu")
    with pytest.raises(UserError, match="'nobody', which is no variant"):
        dataclasses.replace(plain, departures=(Departure("x", ("nobody",)),))


def test_a_family_of_many_verdicts_by_chance_holds_few_at_its_false_discovery_rate():
    one = verdict(claim(), *both(plain=1.0))
    family = [dataclasses.replace(one, p=p) for p in (0.04, 0.5, 0.6, 0.7, 0.001)]
    assert [v.discovered for v in with_discoveries(family)] == [False, False, False, False, True]
    other = dataclasses.replace(one, claim=claim(paper="other"), p=0.04)
    assert with_discoveries([*family, other])[-1].discovered is True  # a family of its own
    open_ = dataclasses.replace(one, verdict="inconclusive", p=0.04)
    assert with_discoveries([open_])[0].discovered is None
