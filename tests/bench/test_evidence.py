"""What a claim may rest on: times of runs that were alone, numbers of one protocol."""

import pytest

from bench.claim import Claim
from bench.experiment import Experiment
from bench.identity import identify
from bench.record import Measured, Record
from bench.registry import registry
from bench.verdict import judge

ALONE, TOGETHER = {"jobs": 1, "shared": None}, {"jobs": 2, "shared": "2 runs at the same time"}
FOREIGN = {"jobs": 1, "shared": "other processes used 0.8 cores"}

pytestmark = pytest.mark.usefixtures("fake_paper")  # it declares three seeds at tier cpu


def claim(**changes):
    fields = {
        "id": "c", "paper": "fake", "text": "t", "where": "w", "kind": "bound", "source": "read", "value": 2.0,
        "relation": "<", "experiment": "fake.act", "variant": "plain", "metric": "solve_time",
    }  # fmt: skip
    return Claim(**(fields | changes))


def made(metric, value, seed=0, environment=ALONE, variant="plain", protocol="p"):
    identity = identify(registry()["fake.act"], variant, "cpu", seed)
    return Record(identity, "done", metrics={metric: Measured(value, "", protocol)}, environment=environment)


def judged(the_claim, *runs):
    groups = {}
    for run in runs:
        groups.setdefault((run.identity.experiment, run.identity.variant), []).append(run)
    return judge(the_claim, groups)


def three(metric, environments):
    return [made(metric, 1.0 + s / 10, s, environment) for s, environment in enumerate(environments)]


def test_times_of_runs_that_were_alone_settle_a_claim():
    assert judged(claim(), *three("solve_time", [ALONE] * 3)).verdict == "reproduced"
    assert judged(claim(relation=">"), *three("solve_time", [ALONE] * 3)).verdict == "not reproduced"


@pytest.mark.parametrize("environment", [TOGETHER, FOREIGN, {"jobs": 2}, {}], ids=str)
@pytest.mark.parametrize("relation", ["<", ">"])
def test_times_from_a_shared_machine_settle_none(environment, relation):
    found = judged(claim(relation=relation), *three("solve_time", [environment] * 3))
    assert found.verdict == "inconclusive"
    assert found.measured is not None  # shown all the same
    assert "timed on a shared machine (seeds 0, 1, 2: " in found.reason
    command = "cnf-bench run fake.act/plain --tier cpu --seed 0 --seed 1 --seed 2 --jobs 1 --force"
    assert f"repeat it alone: {command}" in found.reason


def test_one_shared_seed_among_three_is_named():
    found = judged(claim(), *three("solve_time", [ALONE, FOREIGN, ALONE]))
    assert found.verdict == "inconclusive"
    assert "(seed 1: other processes used 0.8 cores)" in found.reason


def test_a_record_of_before_that_was_alone_settles():
    assert judged(claim(), *three("solve_time", [{"jobs": 1}] * 3)).verdict == "reproduced"


def test_the_other_side_must_have_been_alone_too():
    order = claim(kind="order", value=None, against={"variant": "double"})
    mine = three("solve_time", [ALONE] * 3)
    theirs = [made("solve_time", 3.0, s, TOGETHER, "double") for s in range(3)]
    found = judged(order, *mine, *theirs)
    assert found.verdict == "inconclusive"
    assert "run fake.act/plain fake.act/double --tier cpu" in found.reason


@pytest.mark.parametrize(
    ("metric", "verdict"),
    [
        ("nfe_ratio", "reproduced"),
        ("peak_memory", "reproduced"),
        ("overhead[memory/backprop]", "reproduced"),
        ("scaling_exponent[memory/depth]", "reproduced"),
        ("ratio[timed: error/bound]", "reproduced"),
        ("iterations_to_target", "reproduced"),
        ("time_slope", "inconclusive"),
        ("overhead[time/backprop]", "inconclusive"),
        ("overhead[evaluation]", "inconclusive"),
        ("ratio[time: exact/hutchinson-1]", "inconclusive"),
        ("scaling_exponent[exact over hutchinson-1: time/D]", "inconclusive"),
        ("trend_slope[train_time/depth]", "inconclusive"),
        ("trend_slope[depth/nfe]", "reproduced"),
    ],
)
def test_only_what_rests_on_seconds_is_about_time(metric, verdict):
    assert judged(claim(metric=metric), *three(metric, [TOGETHER] * 3)).verdict == verdict


def test_below_its_tier_a_shared_time_is_scaled_down_and_says_both():
    found = judged(claim(tier="gpu"), *three("solve_time", [TOGETHER] * 3))
    assert found.verdict == "scaled-down"
    assert "the claim needs gpu; timed on a shared machine" in found.reason
    assert "--jobs" not in found.reason  # run again alone, it would still be too small


def test_numbers_of_two_protocols_are_not_averaged():
    runs = [made("parameters", 1.0, s, protocol=p) for s, p in enumerate(("p", "p", "q"))]
    found = judged(claim(metric="parameters"), *runs)
    assert (found.verdict, found.measured, found.values) == ("inconclusive", None, ())
    assert "measured in 2 ways: p, q" in found.reason
    order = claim(kind="order", value=None, metric="parameters", against={"variant": "double"})
    mine = [made("parameters", 1.0, s) for s in range(3)]
    theirs = [made("parameters", 2.0, s, variant="double", protocol=p) for s, p in enumerate(("p", "p", "q"))]
    found = judged(order, *mine, *theirs)
    assert (found.verdict, found.reason) == ("inconclusive", "its seeds were measured in 2 ways: p, q")


@pytest.mark.parametrize(
    ("theirs", "verdict"), [("q/compiled", "reproduced"), ("q/eager", "inconclusive"), ("q", "inconclusive")]
)
def test_compiled_is_compared_with_compiled_alone(theirs, verdict):
    order = claim(kind="order", value=None, against={"variant": "double"}, across="the methods differ")
    runs = [made("solve_time", 1.0, s, protocol="p/compiled") for s in range(3)]
    runs += [made("solve_time", 2.0 + s / 10, s, variant="double", protocol=theirs) for s in range(3)]
    assert judged(order, *runs).verdict == verdict


GPU, CPU = ALONE | {"device": "cuda:0", "gpu": {"name": "G"}}, ALONE | {"device": "cpu", "cpu": "C"}


@pytest.mark.parametrize("metric", ["solve_time", "peak_memory", "overhead[memory/plain]"])
@pytest.mark.parametrize("published", [True, False])
def test_a_claim_about_a_gpu_is_settled_by_gpu_records_alone(metric, published, monkeypatch):
    monkeypatch.setattr(Experiment, "at_published_setting", lambda *_: published)
    own = "own setting" if published else "transfer"
    on_gpu, on_cpu = (judged(claim(metric=metric), *three(metric, [e] * 3)) for e in (GPU, CPU))
    assert (on_gpu.label, on_gpu.reason) == (own, "")
    assert (on_cpu.label, on_cpu.reason) == ("transfer", "measured on a CPU, the source on a GPU")
    for changes in ({"source": "derived"}, {"label": "own setting"}):
        assert judged(claim(metric=metric, **changes), *three(metric, [CPU] * 3)).label == "transfer"


def test_the_device_of_both_sides_counts_and_the_source_may_have_used_a_cpu(monkeypatch):
    monkeypatch.setattr(Experiment, "at_published_setting", lambda *_: True)
    runs = {"ours": three("solve_time", [CPU] * 3), "theirs": three("solve_time", [GPU] * 3)}
    on_cpu = claim(device="cpu")
    assert judged(on_cpu, *runs["ours"]).label == "own setting"
    assert "measured on a GPU, the source on a CPU" in judged(on_cpu, *runs["theirs"]).reason
    other = [made("solve_time", 3.0, s, CPU, "double") for s in range(3)]
    order = claim(kind="order", value=None, against={"variant": "double"})
    mixed = judged(order, *runs["theirs"], *other)
    assert (mixed.verdict, mixed.measured) == ("inconclusive", None)


def test_what_is_no_time_or_memory_is_the_same_on_any_device(monkeypatch):
    monkeypatch.setattr(Experiment, "at_published_setting", lambda *_: True)
    assert judged(claim(metric="max_error"), *three("max_error", [CPU] * 3)).label == "own setting"
    built = claim(metric="peak_memory", label="by construction")
    assert judged(built, *three("peak_memory", [CPU] * 3)).label == "by construction"
