"""What runs cost, in which order they are made, and what a budget lets start."""

import json
import math
import time
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from bench import record as records
from bench.campaign import probe
from bench.campaign.cost import UNKNOWN, Cost, Costs, length_quotient
from bench.campaign.order import in_turn, units, within
from bench.campaign.probe import Probe, Progress, extrapolated
from bench.campaign.reach import Call, reach
from bench.campaign.show import beyond, left, lines
from bench.campaign.survey import Survey, budgeted, to_json
from bench.claim import Claim
from bench.cli.main import app
from bench.errors import UserError
from bench.execution.budget import ENDED, STARTING, Budget, read_length
from bench.execution.executor import Limits, execute
from bench.execution.plan import Job, plan
from bench.execution.run import checkpoint_path
from bench.identity import identify
from bench.record import Record
from bench.registry import registry
from bench.verdict import Verdict

EVERY = "fake.act"


def job(variant="plain", seed=0, tier="cpu", experiment="fake.act", **overrides):
    e = registry()[experiment]
    return Job(e, identify(e, variant, tier, seed, overrides))


def took(seconds, of, status="done", **environment):
    return Record(of.identity, status, duration_s=seconds, environment={"device": "cpu"} | environment)


# -- budgets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("24h", 86400), ("1.5h", 5400), ("30 s", 30), ("2D", 172800)]
)
def test_a_length_of_time(text, seconds):
    assert read_length(text) == seconds


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "0h", "1e3h", "inf h", "1h30m", "9999999d", "١h"])
def test_what_is_no_length_of_time_is_one_line_and_exit_code_2(fake_paper, text):
    with pytest.raises(UserError, match="--budget wants a length of time such as 90m"):
        read_length(text)


def test_a_budget_starts_what_is_expected_to_end_in_time(fake_paper):
    short, long, new = job(), job("double"), job("sleeps")
    budget = Budget(100.0, {short.identity.run: 10.0, long.identity.run: 50.0})
    assert budget.next([long, short, new], 50.0) == 0
    assert budget.next([long, short, new], 50.1) == 1
    assert budget.next([long, new], 94.0) == 1  # of unknown cost: while there is time to start it
    assert budget.next([long, new, short], 100.1 - STARTING) is None


# -- costs --------------------------------------------------------------------------------------------------


def test_a_recorded_cost_is_the_mean_of_the_runs_that_ended_well(fake_paper):
    found = [took(10, job(seed=0)), took(20, job(seed=1)), took(1, job(seed=2), "diverged")]
    found += [took(500, job(seed=3), device="cuda:0"), took(700, job("double")), took(900, job(factor=3.0))]
    assert Costs(found).whole(job(seed=9)) == Cost(STARTING + 15, "recorded")
    assert Costs(found, "cuda").whole(job()) == Cost(STARTING + 500, "recorded")
    assert Costs(found[2:3]).whole(job()) == Cost(STARTING + 1, "recorded")
    assert Costs(found).whole(job(factor=3.0)) == Cost(STARTING + 900, "recorded")


def test_the_cost_at_another_tier_is_scaled_by_the_length_alone(fake_paper):
    short = job("sgd", tier="smoke", experiment="fake.train")
    assert Costs([took(10, short)]).whole(job("sgd", experiment="fake.train")) == UNKNOWN  # `pause` differs
    longer = job("sgd", tier="smoke", experiment="fake.train", iterations=600)
    assert Costs([took(10, short)]).whole(longer) == Cost(STARTING + 100, "scaled")


@pytest.mark.parametrize(
    ("change", "quotient"),
    [
        ({}, 1.0),
        ({"iterations": 3000}, 10.0),
        ({"learning_rate": 1.0}, 1.0),
        ({"batch": 512}, 2.0),
        ({"batch": 64}, 1.0),
        ({"width": 9}, None),
        ({"iterations": 3000, "nf_iterations": 7}, None),
        ({"iterations": 0}, None),
        ({"batch": None}, None),
        ({"batch": 0}, None),
        ({"batch": (1, 2)}, None),
        ({"iterations": "long"}, None),
    ],
)
def test_lengths_are_compared_where_nothing_else_differs(change, quotient):
    setting = {"iterations": 300, "nf_iterations": 3, "batch": 256, "learning_rate": 0.1, "width": 8}
    assert length_quotient(setting, setting | change) == quotient


def test_what_only_one_setting_has_is_no_length():
    assert length_quotient({"iterations": 3}, {"iterations": 6, "batch": 8}) is None
    assert length_quotient({"batch": 8}, {"batch": 8, "iterations": 6}) is None


def test_of_a_run_that_was_interrupted_the_rest_is_left(fake_paper, tmp_path):
    begun = [took(100, job(seed=0)), took(30, job(seed=1), "interrupted"), took(999, job(seed=2), "timeout")]
    for record in begun:
        record.path = records.write(tmp_path, record)
    assert Costs(begun).left(job(seed=1)).seconds == STARTING + 100  # there is nothing to go on from
    for record in begun:
        state = checkpoint_path(tmp_path, record.identity, "training")
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_bytes(b"state")
    costs = Costs(begun)
    assert costs.left(job(seed=1)).seconds == STARTING + 70
    assert costs.left(job(seed=2)).seconds == pytest.approx(0.05 * (STARTING + 100))
    assert costs.left(job(seed=3)).seconds == STARTING + 100


def progress_of(monkeypatch, *events):
    """Return what a run told: (seconds, done, total), or (seconds, how it ended)."""
    now, seen = [0.0], Progress()
    monkeypatch.setattr(probe.time, "monotonic", lambda: now[0])
    seen(None, {"event": "start"})
    for when, *what in events:
        now[0] = when
        told = {"event": "end", "status": what[0]} if len(what) == 1 else None
        seen(None, told or {"event": "progress", "done": what[0], "total": what[1]})
    return seen


def test_a_short_run_is_extrapolated_by_the_rate_of_each_of_its_trainings(monkeypatch):
    events = [(5, 1, 20), (24, 20, 20), (25, 1, 21), (65, 21, 21), (70, 1, 3), (71, 3, 3), (80, "done")]
    seen = progress_of(monkeypatch, *events)
    assert extrapolated(seen, {20: 1000, 21: 521}) == Cost(80 + 1.0 * 980 + 2.0 * 500, "timed")


def test_a_short_run_that_did_not_end_says_at_least(monkeypatch):
    seen = progress_of(monkeypatch, (5, 1, 20), (45, 5, 20), (60, "timeout"))
    assert extrapolated(seen, {20: 1000}) == Cost(60 + 10.0 * 995, "at least")
    first = progress_of(monkeypatch, (20, 1, 20), (60, "timeout"))
    assert extrapolated(first, {20: 1000}) == Cost(60 + 40.0 * 999, "at least")


def test_a_training_that_tells_of_its_end_alone_has_the_rate_of_all_of_it(monkeypatch):
    """An evaluation of 100 s comes after it: that is no part of an iteration."""
    seen = progress_of(monkeypatch, (10, 20, 20), (12, 21, 21), (112, "done"))
    assert extrapolated(seen, {20: 1000, 21: 1021}) == Cost(112 + 0.5 * 980 + 2 / 21 * 1000, "timed")


def test_two_trainings_of_one_length_are_two(monkeypatch):
    seen = progress_of(monkeypatch, (10, 20, 20), (12, 20, 20), (50, "done"))
    assert extrapolated(seen, {20: 1020}) == Cost(50 + 0.5 * 1000 + 0.1 * 1000, "timed")


@pytest.mark.parametrize("events", [[(60, "timeout")], [(5, 1, 20), (9, 9, 20), (10, "error")]])
def test_a_short_run_that_says_nothing_leaves_the_cost_unknown(monkeypatch, events):
    assert extrapolated(progress_of(monkeypatch, *events), {20: 1000}) == UNKNOWN


def test_what_was_timed_is_kept_beside_the_results(fake_paper, tmp_path, monkeypatch):
    told, cut = [], []

    def executed(jobs, folder, limits, listener):
        cut.extend(j.identity.config["iterations"] for j in jobs)
        listener(jobs[0], {"event": "start"})
        listener(jobs[0], {"event": "end", "status": "done"})

    monkeypatch.setattr(probe, "execute", executed)
    train = job("sgd", experiment="fake.train")
    assert Probe(tmp_path, "cpu", 0.0, told.append)(train) == UNKNOWN  # no time for it
    first = Probe(tmp_path, "cpu", math.inf, told.append)(train)
    assert (first.source, cut, len(told)) == ("timed", [probe.CUT], 1)
    again = Probe(tmp_path, "cpu", 0.0, told.append)(job("sgd", seed=7, experiment="fake.train"))
    assert (again, len(told)) == (first, 1)
    (tmp_path / "costs.json").write_text('{"a": {"seconds": "many"}}')
    assert Probe(tmp_path, "cpu", 0.0, told.append)(train) == UNKNOWN


# -- order --------------------------------------------------------------------------------------------------

PRICES = {"plain": 10.0, "double": 20.0, "breaks": 5.0, "dies": 1000.0, "eats": None, "sleeps": 1.0}


def price(the_job):
    seconds = PRICES[the_job.identity.variant]
    return UNKNOWN if seconds is None else Cost(seconds, "recorded")


def pairs(*variants):
    return frozenset(("fake.act", variant) for variant in variants)


@pytest.fixture
def ordered(fake_paper):
    jobs = [job(variant, seed) for seed in range(2) for variant in PRICES]
    wanted = {
        "a": pairs("plain", "double"), "b": pairs("double"), "c": pairs("dies"), "d": pairs("dies", "plain"),
        "e": pairs("eats"), "f": pairs("plain", "recorded before"),
    }  # fmt: skip
    return units(jobs, wanted, price)


def test_what_settles_most_claims_an_hour_comes_first(ordered):
    assert [("".join(u.claims), " ".join(v for _, v in u.variants), u.seconds) for u in ordered] == [
        ("f", "plain", 20.0),
        ("ab", "double", 40.0),  # the other side is there by now
        ("cd", "dies", 2000.0),
        ("e", "eats", None),  # unknown
        ("", "sleeps", 2.0),
        ("", "breaks", 10.0),
    ]
    assert [j.identity.seed for j in ordered[0].jobs] == [0, 1]


def test_whole_units_that_fit_come_before_the_others(ordered):
    assert within(ordered, 70.0) == [True, True, False, False, True, False]
    chosen = [j.identity.variant for j in in_turn(ordered, 70.0)]
    assert chosen == [v for v in ("plain", "double", "sleeps", "dies", "eats", "breaks") for _ in range(2)]


def claim(**changes):
    fields = {
        "id": "c", "paper": "fake", "text": "t", "where": "w", "kind": "value", "source": "read", "value": 2.0,
        "experiment": "fake.act", "variant": "plain", "metric": "max_error",
    }  # fmt: skip
    return Claim(**(fields | changes))


def reached(the_claim, verdict="not run", tier="", **call):
    jobs = plan(["fake.act/plain", "fake.act/double"], "cpu", None)
    call = {"tier": "cpu", "planned": jobs, "missing": jobs} | call
    found = reach([Verdict(the_claim, verdict, tier=tier)], Call(**call))
    return next(iter(found.beyond), "") if found.beyond else found.settled_by.get("c")


def test_an_open_claim_is_settled_by_all_of_its_variants(fake_paper):
    both = claim(kind="ratio", against={"variant": "double"})
    assert reached(both) == pairs("plain", "double")
    assert reached(claim(), "inconclusive") == reached(claim(), "scaled-down") == pairs("plain")
    assert reached(claim(), "reproduced") is None
    assert reached(claim(experiment="fake.train")) is None


def test_what_is_out_of_reach_says_why(fake_paper):
    part = plan(["fake.act/plain"], "cpu", None)
    both = claim(kind="ratio", against={"variant": "double"})
    assert "need tier paper" in reached(claim(tier="paper"))
    assert "records of tier gpu count" in reached(claim(), "inconclusive", "gpu")
    assert "leaves out" in reached(both, planned=part, missing=part)
    assert "leaves out" in reached(claim(), planned=part[:2], missing=part[:2])
    assert "leaves out" in reached(
        claim(), planned=plan(["fake.act/plain"], "cpu", None, {EVERY: {"factor": 7.0}})
    )
    assert "recorded" in reached(claim(), missing=[])
    assert "--jobs 1" in reached(claim(metric="train_time"), jobs=2)
    assert reached(claim(metric="train_time")) == pairs("plain")
    reading = [replace(j, experiment=replace(j.experiment, data_fields=("behaviour",))) for j in part]
    for each in reading:
        each.identity.config["behaviour"] = "mnist"
    assert "data" in reached(claim(), missing=reading, absent=frozenset({"mnist"}))


# -- what is shown ------------------------------------------------------------------------------------------


@pytest.fixture
def found(ordered):
    class Priced(Costs):
        """Costs by the list above."""

        def whole(self, job):
            return price(job)

    call = Call("cpu", [], [])
    nothing = reach([], call)
    return Survey(ordered, replace(nothing, beyond={"they need tier gpu": ["x", "y"]}), Priced([]))


def test_a_plan_is_shown_in_80_columns_with_sums_against_the_budget(found):
    shown = list(lines(found, 70.0))
    assert max(map(len, shown)) <= 80
    assert "within 0.02 h: 6 runs, 0.02 h, 3 claims" in shown
    assert "left: 6 runs, 0.56 h and 2 runs of unknown cost, 3 claims" in shown
    assert [line.split()[3] for line in shown[1:7]] == ["0.01", "0.02", "-", "-", "0.02", "-"]
    assert "all: 12 runs, 0.58 h and 2 runs of unknown cost, 6 claims" in list(lines(found, None))
    assert list(beyond(found)) == ["out of reach, 2: they need tier gpu"]
    assert left(found, [job("dies"), job("eats")]) == "left: 2 runs, 0.28 h and 1 of unknown cost"


def test_a_plan_as_json_holds_all_of_it(found):
    tree = json.loads(json.dumps(to_json(found, 70.0)))
    first, *_, last = tree["units"]
    assert first == {
        "runs": ["fake.act/plain"], "count": 2, "claims": ["f"], "seconds": 20.0, "source": "recorded",
        "within": True,
    }  # fmt: skip
    assert (last["within"], tree["budget_s"], tree["beyond"]) == (
        False,
        70.0,
        {"they need tier gpu": ["x", "y"]},
    )


def test_a_call_with_a_budget_knows_what_its_runs_are_expected_to_take(found):
    chosen, budget = budgeted(found, time.monotonic() + 70.0, 1)
    assert [j.identity.variant for j in chosen][::2][:3] == ["plain", "double", "sleeps"]
    assert budget.expected[job("dies").identity.run] == 1000.0
    assert job("eats").identity.run not in budget.expected


# -- the command line ---------------------------------------------------------------------------------------


def invoked(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "80"})


def test_plan_counts_what_is_recorded_and_what_it_took(fake_paper, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(2):
        records.write(tmp_path / "out", took(3600.0, job(seed=seed)))
    records.write(tmp_path / "out", took(7200.0, job("double")))
    arguments = ["plan", "fake.act/plain", "fake.act/double", "--out", "out", "--no-probe", "--budget", "3h"]
    done = invoked(*arguments, "--json")
    assert done.exit_code == 0, done.output
    tree = json.loads(done.output)
    assert [(u["runs"], u["count"], u["claims"]) for u in tree["units"]] == [
        (["fake.act/plain"], 1, ["fake.error"]),
        (["fake.act/double"], 2, ["fake.double"]),
    ]
    assert [u["within"] for u in tree["units"]] == [True, False]
    shown = invoked(*arguments[:-1], "24h").output
    assert "within 24.00 h: 3 runs, 5.00 h, 2 claims" in shown


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_bad_budget_starts_nothing(fake_paper, tmp_path, verb):
    done = invoked(verb, "fake.act/plain", "--budget", "soon", "--out", tmp_path / "out")
    assert isinstance(done.exception, UserError)
    assert "90m, 24h or 1.5h, got 'soon'" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_budget_goes_on_and_does_not_repeat(fake_paper, tmp_path):
    done = invoked("run", "fake.act/plain", "--budget", "1h", "--force", "--out", tmp_path)
    assert "leave out one" in str(done.exception)


# -- the executor -------------------------------------------------------------------------------------------


def test_a_budget_ends_in_time_and_what_was_going_on_goes_on_later(fake_paper, tmp_path, monkeypatch):
    hold = tmp_path / "hold"
    hold.write_text("0")
    monkeypatch.setenv("FAKE_HOLD", str(hold))
    out = tmp_path / "out"
    (first, second, third) = plan(["fake.train"], "cpu", None)
    budget = Budget(time.monotonic() + 600.0, {third.identity.run: 1e6})
    state = checkpoint_path(out, first.identity, "train")

    def listen(the_job, event):
        if event["event"] == "progress" and state.is_file():
            object.__setattr__(budget, "ends", 0.0)

    counts = execute([third, first, second], out, Limits(budget=budget), listen)
    assert counts == {"interrupted": 1}
    (record,) = records.read_all([out])
    assert (record.status, record.message, record.identity.seed) == ("interrupted", ENDED, 0)
    hold.unlink()
    assert execute([first], out, Limits(), lambda *_: None) == {"done": 1}
    (whole,) = records.read_all([out])
    assert whole.resumed == 1
    assert whole.duration_s > record.duration_s  # that of both parts
