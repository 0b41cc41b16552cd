"""`cnf-bench compare`: paired differences of planted records."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from made_up import ENVIRONMENT, made
from typer.testing import CliRunner

from bench.cli.main import app
from bench.compare import Difference, compare
from bench.errors import UserError
from bench.record import Record, write

NOISE = np.random.default_rng(0).normal(0, 5, 8)
FIRST, SECOND = "fake.act/plain", "fake.act/double"


def folder(place: Path, *records: Record) -> Path:
    for record in records:
        write(place, record)
    return place


def runs(experiment, variant, shift=0.0, seeds=range(8), metrics=(), environment=ENVIRONMENT) -> list[Record]:
    """Runs whose error has a large noise that a seed gives to every variant, and a little of its own."""
    own = np.random.default_rng(len(variant))
    made_up = [
        made(
            experiment,
            variant,
            s,
            [("max_error", 20 + NOISE[s] + shift + own.normal(0, 0.01)), *metrics],
        )
        for s in seeds
    ]
    return [dataclasses.replace(record, environment=environment) for record in made_up]


def one(found, key="max_error") -> Difference:
    (difference,) = [d for d in found.differences if d.key == key]
    return difference


def test_variants_are_paired_by_seed(fake, tmp_path):
    place = folder(tmp_path, *runs(fake, "plain"), *runs(fake, "double", shift=0.5))
    worse, better = compare(FIRST, SECOND, [place], "cpu"), compare(SECOND, FIRST, [place], "cpu")
    assert (one(worse).verdict, worse.worse) == ("worse", True)
    assert (one(better).verdict, better.worse) == ("better", False)
    assert one(worse).difference.mean == pytest.approx(0.5, abs=0.02)
    assert one(better).difference.mean == pytest.approx(-0.5, abs=0.02)
    assert (
        one(worse).first.low < one(worse).second.mean < one(worse).first.high
    )  # unpaired they are not told apart


def test_what_is_not_told_apart_is_no_failure(fake, tmp_path):
    place = folder(tmp_path, *runs(fake, "plain"), *runs(fake, "double", shift=0.001))
    found = compare(FIRST, SECOND, [place], "cpu")
    assert (one(found).verdict, found.worse) == ("", False)


def test_a_higher_is_better_where_the_metric_says_so(fake, tmp_path):
    sides = [
        runs(fake, variant, metrics=[("order_observed", value)])
        for variant, value in (("plain", 1.0), ("double", 2.0))
    ]
    found = compare(FIRST, SECOND, [folder(tmp_path, *sides[0], *sides[1])], "cpu", ["order*"])
    assert [(d.key, d.verdict) for d in found.differences] == [("order_observed", "better")]


def test_folders_are_compared_variant_by_variant(fake, tmp_path):
    before = folder(tmp_path / "a", *runs(fake, "plain"), *runs(fake, "double"))
    after = folder(tmp_path / "b", *runs(fake, "plain", shift=0.5), *runs(fake, "double", shift=-0.5))
    found = compare(str(before), str(after), [], "cpu", ["max_error"])
    assert {d.row: d.verdict for d in found.differences} == {FIRST: "worse", SECOND: "better"}


def test_only_common_seeds_count(fake, tmp_path):
    place = folder(
        tmp_path, *runs(fake, "plain", seeds=range(4)), *runs(fake, "double", 0.5, seeds=range(2, 8))
    )
    assert one(compare(FIRST, SECOND, [place], "cpu")).difference.n == 2


def test_more_comparisons_need_more_certainty(fake, tmp_path):
    rng, wrong = np.random.default_rng(1), 0
    for i in range(30):
        many = [
            made(fake, v, s, [(f"max_error[{k}]", rng.normal()) for k in range(20)])
            for v in ("plain", "double") for s in range(3)
        ]  # fmt: skip
        wrong += compare(FIRST, SECOND, [folder(tmp_path / str(i), *many)], "cpu").worse
    assert wrong <= 5  # 30 comparisons of twenty metrics that do not differ, 5 % of them at most expected


@pytest.mark.parametrize(
    ("metrics", "more", "reason"),
    [
        ([("nfe", 7, "other")], {}, "two protocols"),
        ([("train_time", 7.0)], {"environment": {**ENVIRONMENT, "jobs": 2}}, "shared machine"),
        ([("peak_memory", 7)], {"environment": {**ENVIRONMENT, "cpu": "Other CPU"}}, "two machines"),
        ([], {}, "not measured by all runs"),
    ],
)
def test_what_can_not_be_compared_is_named_with_the_reason(fake, tmp_path, metrics, more, reason):
    key = metrics[0][0] if metrics else "nfe"
    mine = runs(fake, "plain", metrics=[(key, 7)])
    found = compare(
        FIRST, SECOND, [folder(tmp_path, *mine, *runs(fake, "double", metrics=metrics, **more))], "cpu", [key]
    )
    assert found.differences == []
    assert [reason in line for line in found.left_out] == [True]


def test_failed_runs_are_no_side(fake, tmp_path):
    failed = [dataclasses.replace(r, status="diverged", metrics={}) for r in runs(fake, "double")]
    with pytest.raises(UserError, match="no finished run"):
        compare(FIRST, SECOND, [folder(tmp_path, *runs(fake, "plain"), *failed)], "cpu")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (FIRST, "fake.act/*", "names 10 variants"),
        (FIRST, "fake.act/nothing", "no experiment matches"),
        ("absent", "absent", "give two folders"),
    ],
)
def test_what_is_no_side_is_named(fake, tmp_path, first, second, said):
    with pytest.raises(UserError, match=said):
        compare(first, second, [tmp_path], "cpu")


def test_the_verb_ends_with_one_where_the_second_is_worse(fake, tmp_path):
    place = folder(tmp_path, *runs(fake, "plain"), *runs(fake, "double", shift=0.5))
    done = CliRunner().invoke(app, ["compare", FIRST, SECOND, "--in", str(place)])
    assert done.exit_code == 1
    assert done.output.startswith("worse           fake.act/double against fake.act/plain max_error: ")
    done = CliRunner().invoke(app, ["compare", SECOND, FIRST, "--in", str(place), "--json"])
    assert done.exit_code == 0
    tree = json.loads(done.stdout)
    assert (tree["worse"], tree["differences"][0]["verdict"]) == (False, "better")
