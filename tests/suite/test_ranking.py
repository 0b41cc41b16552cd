"""Letters and ranks, on planted values."""

import math

import numpy as np
import pytest

from replications.suite import findings, ranking
from replications.suite.rows import NAMES

RNG = np.random.default_rng(0)
NOISE = RNG.normal(0, 1, 8)


def planted(**means: float) -> dict[str, dict[int, float]]:
    """Return methods with a large noise that all share and a small one of their own: nearly constant differences."""
    own = np.random.default_rng(1)
    return {
        name: {seed: mean + 5 * NOISE[seed] + own.normal(0, 0.01) for seed in range(8)}
        for name, mean in means.items()
    }


def test_pairs_are_told_apart_by_their_paired_difference_alone() -> None:
    values = planted(cnf=1.0, ffjord=1.1, rnode=1.1)
    assert ranking.apart(values) == {frozenset(("cnf", "ffjord")), frozenset(("cnf", "rnode"))}
    shuffled = {**values, "ffjord": {7 - seed: value for seed, value in values["ffjord"].items()}}
    assert frozenset(("cnf", "ffjord")) not in ranking.apart(shuffled)


def test_equal_methods_are_rarely_told_apart_however_many_pairs() -> None:
    rng, wrong = np.random.default_rng(2), 0
    for _ in range(400):
        values = {str(m): {s: rng.normal() for s in range(8)} for m in range(6)}
        wrong += bool(ranking.apart(values))
    assert wrong <= 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)


def test_letters_join_those_that_are_not_told_apart() -> None:
    assert ranking.letters(planted(rnode=2.0, cnf=1.0, ffjord=1.0)) == {
        "rnode": "b",
        "cnf": "a",
        "ffjord": "a",
    }


def test_a_method_between_two_groups_has_both_letters() -> None:
    rng = np.random.default_rng(3)
    wide = dict(enumerate(rng.normal(1.5, 2.0, 8)))
    values = planted(cnf=1.0, ffjord=2.0) | {"steer": wide}
    letters = ranking.letters(values)
    assert set(letters["steer"]) == {"a", "b"}
    assert (letters["cnf"], letters["ffjord"]) == ("a", "b")


def test_a_method_with_a_failed_run_has_no_letter_and_the_last_rank() -> None:
    values = planted(cnf=1.0, ffjord=2.0)
    values["rnode"] = {**values["cnf"], 3: math.inf}
    assert "rnode" not in ranking.letters(values)
    ranks = ranking.mean_ranks({"a": values, "b": values}, np.random.default_rng(0))
    assert ranks["rnode"].mean == 3


def test_mean_ranks_over_data_sets() -> None:
    tables = {"a": planted(cnf=1.0, ffjord=2.0, rnode=3.0), "b": planted(cnf=2.0, ffjord=1.0, rnode=3.0)}
    ranks = ranking.mean_ranks(tables, np.random.default_rng(0))
    assert {name: r.mean for name, r in ranks.items()} == {"cnf": 1.5, "ffjord": 1.5, "rnode": 3.0}
    assert (ranks["cnf"].low, ranks["cnf"].high) == (1.0, 2.0)  # a resample may hold one set twice
    assert (ranks["rnode"].low, ranks["rnode"].high) == (3.0, 3.0)


def test_equal_values_share_a_rank() -> None:
    same = dict.fromkeys(range(3), 1.0)
    ranks = ranking.mean_ranks({"a": {"cnf": same, "ffjord": same}}, np.random.default_rng(0))
    assert ranks["cnf"].mean == ranks["ffjord"].mean == 1.5


def test_the_difference_needs_two_common_seeds() -> None:
    assert ranking.difference({0: 1.0}, {0: 2.0}) is None
    found = ranking.difference({0: 1.0, 1: 2.0, 2: 9.0}, {0: 2.0, 1: 3.0})
    assert found is not None
    assert (found.mean, found.n) == (-1.0, 2)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (planted(cnf=1.0, ffjord=2.0), f"On x {NAMES['cnf']} is the best, told apart from the 1 others."),
        (planted(cnf=1.0, ffjord=1.0), "On x no method is told apart from"),
        (planted(cnf=1.0, ffjord=1.0, rnode=2.0), "is among the best, not told apart from"),
    ],
)
def test_findings_say_who_is_best_with_what_certainty(values, said) -> None:
    assert said in " ".join(findings.sentences({"x": values}, "nll", {}))


def test_who_leads_is_said_by_the_intervals() -> None:
    apart = {"a": planted(cnf=1.0, ffjord=2.0), "b": planted(cnf=1.0, ffjord=2.0)}
    ranks = ranking.mean_ranks(apart, np.random.default_rng(0))
    assert f"{NAMES['cnf']} leads: mean rank 1.0 of 2" in findings.sentences(apart, "nll", ranks)[0]
    mixed = {"a": planted(cnf=1.0, ffjord=2.0), "b": planted(cnf=2.0, ffjord=1.0)}
    ranks = ranking.mean_ranks(mixed, np.random.default_rng(0))
    assert "its interval meets those of" in findings.sentences(mixed, "nll", ranks)[0]
