"""A second look, at added seeds alone: the chance of a false verdict over both looks is at most 5 %, by simulation."""

import math

import numpy as np
import pytest
from made_up import made

from bench import inference
from bench.claim import Claim
from bench.inference import ERROR, LOOKS, over_looks, p_beyond
from bench.power import seeds_to_settle, seen
from bench.record import Measured
from bench.registry import registry
from bench.stats import mean_interval
from bench.verdict import DECISIVE, judge

SIMULATIONS = 2000
MOST = 40
"""Added seeds, at most: what a person would pay for."""


def claim(**changes):
    fields = {
        "id": "c", "paper": "fake", "text": "t", "where": "w", "kind": "bound", "source": "read", "value": 2.0,
        "relation": "<", "experiment": "fake.act", "variant": "plain", "metric": "max_error",
    }  # fmt: skip
    return Claim(**(fields | changes))


@pytest.fixture
def experiment(fake_paper, monkeypatch):
    """The fake experiment, with eight declared seeds."""
    found = registry()["fake.act"]
    monkeypatch.setitem(vars(found), "seeds", {"cpu": 8})
    monkeypatch.setitem(vars(found), "added", {})
    return found


def added(the_claim, verdict):
    """Return how many seeds a person adds who follows `power`: as many as it says, within reason."""
    found = None if verdict.measured is None else seen(the_claim, verdict.measured)
    return 0 if found is None else min(seeds_to_settle(found, LOOKS[1]) or MOST, MOST)


def ends(the_claim, experiment, mean, simulations=SIMULATIONS):
    """Return how often which verdict is the last, of numbers around a mean, where open claims get a second look."""
    runs = [made(experiment, "plain", seed) for seed in range(8 + MOST)]
    counts: dict[str, int] = {}
    for draws in np.random.default_rng(5).normal(mean, 0.3, (simulations, len(runs))):
        for run, x in zip(runs, draws, strict=True):
            run.metrics["max_error"] = Measured(float(x), "", "p")
        experiment.added.clear()
        verdict = judge(the_claim, {("fake.act", "plain"): runs[:8]})
        if verdict.verdict == "inconclusive" and (n := added(the_claim, verdict)):
            experiment.added["cpu"] = n
            verdict = judge(the_claim, {("fake.act", "plain"): runs[: 8 + n]})
            assert verdict.level == LOOKS[1]
            assert verdict.measured.n == n
        assert the_claim.equates or (verdict.p <= ERROR) == (verdict.verdict in DECISIVE)
        counts[verdict.verdict] = counts.get(verdict.verdict, 0) + 1
    return counts


def test_no_more_than_5_percent_of_claims_on_the_limit_get_a_false_verdict(experiment):
    found = ends(claim(), experiment, 2.0)
    assert sum(n for verdict, n in found.items() if verdict != "inconclusive") <= 0.05 * SIMULATIONS


def test_no_more_than_5_percent_of_claims_on_the_edge_are_called_equal(experiment):
    equal = claim(kind="value", relation="", tolerance=0.1)
    found = ends(equal, experiment, 2.2)
    assert found.get("reproduced", 0) <= 0.05 * SIMULATIONS


def test_looks_at_95_percent_each_at_all_seeds_together_would_say_too_much():
    """What the rule is for: the same numbers, judged as often as there are more of them."""
    wrong = 0
    for x in np.random.default_rng(5).normal(2.0, 0.3, (SIMULATIONS, 32)):
        wrong += any(p_below_5(x[:n]) for n in (8, 16, 32))
    assert wrong > 0.07 * SIMULATIONS


def p_below_5(x):
    interval = mean_interval(x)
    return not interval.low <= 2.0 <= interval.high


def test_a_verdict_of_the_first_look_stands(experiment):
    runs = [made(experiment, "plain", s, [("max_error", 1.0 + 0.01 * s)]) for s in range(8)]
    runs += [made(experiment, "plain", s, [("max_error", 3.0 + 0.01 * s)]) for s in range(8, 12)]
    experiment.added["cpu"] = 4
    verdict = judge(claim(), {("fake.act", "plain"): runs})
    assert (verdict.verdict, verdict.measured.n, verdict.level) == ("reproduced", 8, LOOKS[0])


def test_added_seeds_are_judged_alone_and_only_when_all_are_there(experiment):
    runs = [made(experiment, "plain", s, [("max_error", 1.0 + s % 2 * 2.0)]) for s in range(8)]
    runs += [made(experiment, "plain", s, [("max_error", 3.0 + 0.01 * s)]) for s in range(8, 12)]
    experiment.added["cpu"] = 4
    part = judge(claim(), {("fake.act", "plain"): runs[:-1]})
    assert (part.verdict, part.cause) == ("inconclusive", "seeds")
    assert "3 of the 4 added seeds" in part.reason
    verdict = judge(claim(), {("fake.act", "plain"): runs})
    assert (verdict.verdict, verdict.measured.n) == ("not reproduced", 4)
    assert verdict.measured.mean == pytest.approx(3.095)
    assert "second look, at 4 added seeds" in verdict.reason
    alone = p_beyond(lambda level: mean_interval([3.08, 3.09, 3.10, 3.11], level), 2.0)
    assert verdict.p == pytest.approx(over_looks(alone, LOOKS[1])) == pytest.approx(5 * alone)


def test_the_levels_of_the_looks_add_up():
    assert math.fsum(1 - level for level in inference.LOOKS) == pytest.approx(ERROR)


def test_seeds_of_both_looks_are_planned(experiment):
    experiment.added["cpu"] = 5
    assert experiment.looks("cpu") == (range(8), range(8, 13))
    assert (experiment.all_seeds("cpu"), experiment.planned_seeds("cpu")) == (13, 8)
