"""The table of what runs cost, what they settled and what is left."""

from test_campaign import claim, job, took

from bench.experiment import TIERS
from bench.registry import registry
from bench.report import costs
from bench.stats import Interval
from bench.verdict import Verdict


def rows_of(records, verdicts=()):
    return costs.spent([registry()["fake.act"], registry()["fake.train"]], records, verdicts)


def test_a_row_sums_the_hours_of_all_threads_and_what_is_left(fake_paper):
    records = [took(3600.0, job(seed=0)), took(1800.0, job(seed=1), threads=2), took(9.0, job(tier="smoke"))]
    records += [took(60.0, job("breaks"), "error")]
    (row,) = rows_of(records)
    assert (row.experiment, row.tier, row.runs, row.seconds) == ("fake.act", "cpu", 3, 3600.0 + 3600.0 + 60.0)
    variants = len(registry()["fake.act"].variants)
    assert row.runs_left == 3 * variants - 2  # what failed is tried again
    assert not row.known
    assert row.seconds_left == 5.0 + 2700.0  # the third seed of `plain`; nothing tells of the other variants


def test_runs_that_drew_from_other_random_streams_are_left(fake_paper):
    old = took(10.0, job("sgd", experiment="fake.train"))
    object.__setattr__(old.identity, "seeded_by", {"schema": 1})
    (row,) = rows_of([old])
    assert (row.runs, row.runs_left, row.seconds_left) == (1, 3, 3 * 15.0)


def test_a_claim_is_counted_once_where_it_was_settled_or_can_be(fake_paper):
    interval = Interval(1.0, 0.9, 1.1, 3)
    verdicts = [
        Verdict(claim(id="a", tier="smoke"), "reproduced", interval, tier="cpu"),
        Verdict(claim(id="b"), "not reproduced", interval, tier="cpu"),
        Verdict(claim(id="c"), "exceeded", interval, tier="cpu"),
        Verdict(claim(id="d", tier="paper"), "scaled-down", interval, tier="cpu"),
        Verdict(claim(id="e", tier="paper"), "not run"),
        Verdict(claim(id="f"), "inconclusive", interval, tier="gpu"),
        Verdict(claim(id="g", verdict="impossible", note="n"), "impossible"),
    ]
    rows = {row.tier: row for row in rows_of([], verdicts)}
    assert {tier: (rows[tier].claims, rows[tier].open) for tier in TIERS[1:]} == {
        "cpu": (3, 0),
        "gpu": (1, 1),
        "paper": (2, 2),
    }
    cells = costs.table(list(rows.values())).rows
    assert cells[0][2:8] == ("0", "0.00", "3", "2", "1", "0")
    assert cells[-1][0] == "all"
    assert cells[-1][4:8] == ("6", "2", "1", "3")
    (cpu, *_) = costs.csv_rows(list(rows.values()))
    by_name = dict(zip(costs.CSV_HEADER, cpu, strict=True))
    assert (by_name["reproduced"], by_name["exceeded"], by_name["not_reproduced"]) == (1, 1, 1)
    assert by_name["hours_left"] is None


def test_hours_that_are_not_known_say_so(fake_paper):
    none, some = rows_of([took(60.0, job("breaks"), "error")]), rows_of([took(3595.0, job())])
    assert costs.table(none).rows[0][-1] == "unknown"
    assert costs.table(some).rows[0][-1] == "2.00 +"
    done = [took(60.0, job("sgd", seed, experiment="fake.train")) for seed in range(3)]
    assert costs.table(rows_of(done)).rows[0][-2:] == ("0", "0.00")
