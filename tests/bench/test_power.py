"""The number of seeds that would settle a claim: by simulation, on the scale of the judge, and what it costs."""

import json
import math

import numpy as np
import pytest
from test_campaign import claim, job, took
from typer.testing import CliRunner

from bench import record as records
from bench.campaign.cost import Costs
from bench.campaign.lacking import INSTEAD, ON_THE_LIMIT, chosen, lacking, lines
from bench.cli.main import app
from bench.errors import UserError
from bench.inference import LOOKS, Equivalence, Side, equivalence, side
from bench.power import MOST, Seen, equality_power, seeds_to_settle, seen
from bench.record import Measured
from bench.registry import registry
from bench.stats import Interval, mean_interval, paired_ratio, student_t
from bench.verdict import ON_LIMIT, SEEDS_MISSING, SHARED, Verdict

SIMULATIONS = 3000


def share(found, n, decided):
    """Return how often simulated seeds decide."""
    draws = np.random.default_rng(7).normal(found.mean, found.deviation, (SIMULATIONS, n))
    return np.mean([decided(lambda level, x=x: mean_interval(x, level)) for x in draws])


@pytest.mark.parametrize("effect", [0.4, -0.7, 1.2])
def test_as_many_seeds_leave_a_limit_out_in_8_of_10_cases(effect):
    found = Seen(3.0 + 2.0 * effect, 2.0, 3.0, 3.0)
    n = seeds_to_settle(found, 0.95)
    wanted = Side.ABOVE if effect > 0 else Side.BELOW
    assert share(found, n, lambda estimate: side(estimate(0.95), 3.0) is wanted) == pytest.approx(
        0.8, abs=0.05
    )
    assert share(found, n - 2, lambda estimate: side(estimate(0.95), 3.0) is wanted) < 0.8


@pytest.mark.parametrize(("mean", "deviation"), [(1.0, 0.12), (1.05, 0.15), (0.93, 0.05)])
def test_as_many_seeds_are_called_equal_in_8_of_10_cases(mean, deviation):
    found = Seen(mean, deviation, 0.9, 1.1)
    n = seeds_to_settle(found, 0.95)

    def equal(estimate):
        return equivalence(estimate, 0.9, 1.1) is Equivalence.EQUAL

    assert share(found, n, equal) == pytest.approx(0.8, abs=0.05)
    assert equality_power(found, n, 0.95) >= 0.8 > equality_power(found, n - 1, 0.95)
    few = share(found, 4, equal)
    assert equality_power(found, 4, 0.95) == pytest.approx(few, abs=0.03)


def test_beyond_a_margin_the_nearer_end_is_to_be_left_out():
    low, high = Seen(0.8, 0.1, 0.9, 1.1), Seen(1.2, 0.1, 0.9, 1.1)
    assert (
        seeds_to_settle(low, 0.95)
        == seeds_to_settle(high, 0.95)
        == seeds_to_settle(Seen(0.8, 0.1, 0.9, 0.9), 0.95)
        == 10
    )


def test_what_lies_on_the_limit_is_settled_by_no_number():
    assert seeds_to_settle(Seen(1.0, 0.3, 1.0, 1.0), 0.95) is None
    assert seeds_to_settle(Seen(1.1, 0.3, 0.9, 1.1), 0.95) is None
    assert seeds_to_settle(Seen(1.0 + 0.3 * 2.81 / math.sqrt(MOST), 0.3, 1.0, 1.0), 0.95) in range(
        MOST - 20, MOST + 1
    )
    assert seeds_to_settle(Seen(1.0, 0.0, 1.0, 1.0), 0.95) is None
    assert seeds_to_settle(Seen(1.1, 0.0, 1.0, 1.0), 0.95) == 2


def test_the_scale_is_that_of_the_judge():
    a, b = [1.0, 2.5, 3.1, 4.4], [1.3, 2.0, 3.9, 4.5]
    logs = np.log(a) - np.log(b)
    quotient = claim(kind="ratio", value=2.0, tolerance=0.25, against={"variant": "double"})
    found = seen(quotient, paired_ratio(a, b))
    assert found.mean == pytest.approx(logs.mean())
    assert found.deviation == pytest.approx(logs.std(ddof=1))
    assert (found.low, found.high) == pytest.approx((math.log(2 / 1.25), math.log(2 * 1.25)))
    order = claim(kind="order", value=None, relation="<", against={"variant": "double"})
    assert (seen(order, paired_ratio(a, b)).low, seen(order, paired_ratio(a, b)).high) == (0.0, 0.0)
    difference = claim(kind="order", value=None, relation="<", against={"variant": "double"}, difference=True)
    plainly = seen(difference, mean_interval(np.subtract(a, b)))
    assert (plainly.mean, plainly.deviation) == pytest.approx((-0.175, np.subtract(a, b).std(ddof=1)))
    assert (plainly.low, plainly.high) == (0.0, 0.0)
    assert seen(order, Interval(1.0, None, None, 1)) is None


def interval(mean, deviation, n):
    half = student_t(n - 1, 0.95) * deviation / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def verdict_of(
    measured, verdict="inconclusive", tier="cpu", reason="", cause=ON_LIMIT, level=0.96, **changes
):
    return Verdict(claim(**changes), verdict, measured, tier=tier, reason=reason, cause=cause, level=level)


def lack_of(verdict, made=3):
    """Return what is lacking where so many seeds of the variant were made, of an hour each."""
    found = [took(3600.0 - 5.0, job(seed=seed)) for seed in range(made)]
    (lack,) = lacking([verdict], found, Costs(found))
    return lack


BOUND = {"kind": "bound", "relation": "<"}


def test_added_seeds_are_judged_alone_and_cost_what_the_recorded_ones_took(fake_paper):
    estimate = interval(1.9, 0.1, 3)
    lack = lack_of(verdict_of(estimate, **BOUND))
    added = seeds_to_settle(seen(claim(**BOUND), estimate), LOOKS[1])
    assert added > seeds_to_settle(seen(claim(**BOUND), estimate), 0.95)
    assert (lack.n, lack.needed, lack.seconds) == (3, 3 + added, added * 3600.0)
    assert f'added = {{"cpu": {added}}}' in lack.what
    assert "judged alone at 99%" in lack.what
    limit = lack_of(verdict_of(interval(2.0, 0.1, 3), **BOUND))
    assert (limit.needed, limit.seconds, limit.what) == (None, None, ON_THE_LIMIT)
    spent = lack_of(verdict_of(estimate, level=LOOKS[1], **BOUND))
    assert (spent.needed, spent.seconds) == (None, None)
    assert "both looks are taken" in spent.what


def test_seeds_that_are_declared_are_named_before_others(fake_paper, monkeypatch):
    few = lack_of(verdict_of(interval(1.0, 0.1, 2), cause=SEEDS_MISSING, **BOUND), made=2)
    assert (few.needed, few.seconds, few.what) == (3, 3600.0, "the 3 declared seeds")
    monkeypatch.setitem(vars(registry()["fake.act"]), "added", {"cpu": 5})
    lack = lack_of(verdict_of(interval(1.9, 0.1, 3), **BOUND))
    assert (lack.needed, lack.seconds, lack.what) == (8, 5 * 3600.0, "the 5 added seeds")


@pytest.mark.parametrize(("cause", "instead"), INSTEAD.items())
def test_what_is_not_open_for_want_of_seeds_is_offered_none(fake_paper, cause, instead):
    lack = lack_of(verdict_of(interval(1.9, 0.1, 3), reason="so it is", cause=cause, **BOUND))
    assert (lack.needed, lack.what) == (None, f"{instead}: so it is")
    assert lack.seconds == (3 * 3600.0 if cause == SHARED else None)
    unmeasured = lack_of(verdict_of(None, reason="so it is", cause=cause))
    assert (unmeasured.n, unmeasured.needed) == (0, None)


def test_a_scaled_down_claim_lacks_length(fake_paper):
    trained = {"experiment": "fake.train", "variant": "sgd", "metric": "train_loss"}
    short = Verdict(claim(**trained), "scaled-down", interval(1.9, 0.1, 3), tier="smoke")
    found = [took(95.0, job("sgd", experiment="fake.train"))]
    (lack,) = lacking([short], found, Costs(found))
    assert (lack.what, lack.needed, lack.tier, lack.seconds) == ("tier cpu", 3, "cpu", 200.0)
    nowhere = Verdict(claim(**trained, tier="paper"), "scaled-down", interval(1.9, 0.1, 3), tier="cpu")
    (lack,) = lacking([nowhere], found, Costs(found))
    assert (lack.needed, lack.what) == (None, "its variants are not offered at tier paper")


def test_claims_are_chosen_by_id_or_experiment():
    one, two = Verdict(claim(id="a.b"), "not run"), Verdict(claim(id="c", experiment="x.y"), "not run")
    assert chosen([one, two], []) == [one, two]
    assert chosen([one, two], ["a.*"]) == chosen([one, two], ["fake.act"]) == [one]
    assert chosen([one, two], ["x.y/plain"]) == [two]
    with pytest.raises(UserError, match="no claim matches 'z'"):
        chosen([one, two], ["a.b", "z"])


def test_the_command_prints_80_columns_and_json(fake_paper, tmp_path):
    for seed, value in enumerate((0.3, 0.5, 0.6)):
        made = took(3595.0, job(seed=seed))
        made.metrics["max_error"] = Measured(value, "", "p")
        records.write(tmp_path, made)
    arguments = ["power", "fake.error", "--records", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 80
    (row,) = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert (row["claim"], row["verdict"], row["n"], row["tier"]) == ("fake.error", "inconclusive", 3, "cpu")
    assert row["seconds"] == (row["needed"] - 3) * 3600.0
    assert list(lines([]))[-1].startswith("0 open claims")
