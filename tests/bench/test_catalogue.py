"""The catalogue of metrics and the keys of a record."""

from __future__ import annotations

import dataclasses
import re
from typing import get_args

import pytest

from bench.errors import UserError
from bench.metrics import catalogue
from bench.metrics.catalogue import CATALOGUE, Metric, metric, split_key


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
def test_every_metric_is_complete_and_its_name_is_a_key(entry):
    assert split_key(entry.name) == (entry.name, None)
    assert entry.direction in get_args(catalogue.Direction)
    assert re.fullmatch(r"\S.{10,}\.", entry.description)
    assert metric(entry.name) is entry


def test_names_are_unique():
    assert len(CATALOGUE) == len(catalogue._METRICS)


@pytest.mark.parametrize(
    ("name", "unit", "direction"),
    [
        ("test_error", "%", "lower"),
        ("test_accuracy", "%", "higher"),
        ("nfe_backward", "evaluations", "lower"),
        ("peak_memory", "bytes", "lower"),
        ("memory_slope", "bytes/step", "lower"),
        ("nfe_ratio", "", "none"),
    ],
)
def test_units_and_directions(name, unit, direction):
    assert (metric(name).unit, metric(name).direction) == (unit, direction)


def test_a_metric_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        metric("nfe").unit = "s"


def test_an_unknown_name_is_answered_with_close_ones():
    with pytest.raises(UserError, match=r"'test_acuracy'.*test_accuracy"):
        metric("test_acuracy")
    with pytest.raises(UserError) as error:
        metric("zzz")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("nfe", ("nfe", None)),
        ("max_error[forced/199 steps]", ("max_error", "forced/199 steps")),
        ("ratio[a[0]/b[1]]", ("ratio", "a[0]/b[1]")),
    ],
)
def test_a_key_is_a_name_and_perhaps_a_qualifier(key, parts):
    assert split_key(key) == parts


@pytest.mark.parametrize("key", ["", "nfe[]", "nfe[a", "nfe]", "[a]", "nfe[a]b", "Max error", "nfe\n"])
def test_a_malformed_key_is_refused(key):
    with pytest.raises(UserError, match="malformed metric key"):
        split_key(key)


def test_metric_is_plain_data():
    assert Metric("a", "s", "lower", "x.") == Metric("a", "s", "lower", "x.")
