"""Runs that shared the machine are repeated alone where a claim about time needs them, in one go."""

from dataclasses import replace

import pytest
from test_campaign import claim, invoked, job, took

from bench import record as records
from bench.campaign import alone
from bench.execution.plan import plan
from bench.record import Measured

TIMED = {"kind": "bound", "relation": "<", "metric": "train_time"}


@pytest.fixture
def planned(fake_paper, tmp_path, monkeypatch):
    """Plain runs of three seeds: one alone, one beside others, one missing; the claim is about their time."""
    monkeypatch.setattr(alone, "find_claims", lambda: ([claim(**TIMED), claim(id="d", variant="double")], []))
    monkeypatch.setattr(alone, "COMMITTED", ())
    for variant, seed, jobs in (("plain", 0, 1), ("plain", 1, 2), ("double", 0, 2)):
        made = took(1.0, job(variant, seed=seed), jobs=jobs)
        made.metrics = {"train_time": Measured(1.0, "s", "p"), "max_error": Measured(1.0, "", "p")}
        records.write(tmp_path, made)
    return plan(["fake.act/plain", "fake.act/double"], "cpu", None)


def test_what_shared_the_machine_and_what_is_missing_is_repeated(planned, tmp_path):
    found = alone.alone(planned, tmp_path, "cpu")
    assert [(j.identity.variant, j.identity.seed) for j in found] == [("plain", 1), ("plain", 2)]


def test_what_was_repeated_is_not_again(planned, tmp_path):
    for each in alone.alone(planned, tmp_path, "cpu"):
        made = took(1.0, each, jobs=1)
        records.write(tmp_path, replace(made, metrics={"train_time": Measured(1.0, "s", "p")}))
    assert alone.alone(planned, tmp_path, "cpu") == []


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_alone_is_one_at_a_time(fake_paper, tmp_path, verb):
    done = invoked(verb, "fake.act/plain", "--alone", "--jobs", "2", "--out", tmp_path)
    assert "one run at a time" in str(done.exception)


def test_alone_is_not_all(fake_paper, tmp_path):
    done = invoked("run", "fake.act/plain", "--alone", "--force", "--out", tmp_path)
    assert "leave out one" in str(done.exception)
