"""No damaged input ends a parser but in the right value or the typed error of one line."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parsers import PARSERS, attack, npy_file

from bench import arrays
from bench.claim import read_claims
from bench.data import images
from bench.errors import UserError
from bench.identity import Identity
from bench.metrics.catalogue import CATALOGUE
from bench.record import SETTLED, Curve, Measured, Record, read, write
from bench.registry import registry
from bench.schema import STATUSES
from bench.settings import PARTS, read_setting, read_toml, replace

FEW = {"state": 8, "sealed state": 12, "repaired record": 8, "model": 30}


@pytest.mark.parametrize("name", PARSERS)
def test_a_damaged_input_ends_in_a_value_or_the_typed_error(fake_paper, name: str) -> None:
    ends, bad = attack(name, FEW.get(name, 60))
    assert bad == []
    assert ends["traceback"] == 0


@pytest.mark.parametrize("name", PARSERS)
def test_an_input_that_is_not_damaged_is_read(fake_paper, tmp_path: Path, name: str) -> None:
    parser = PARSERS[name]
    parser.call(tmp_path, parser.good(tmp_path))


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(lambda word: word.strip())
PLAIN = (
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | NUMBERS | st.text(st.characters(codec="utf-8"))
)
TREES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6
)
CONFIGS = st.dictionaries(WORDS, TREES, max_size=4)
COUNTS = st.none() | st.integers(0, 10**6)
MEASURED = st.builds(
    lambda name, value, protocol, n, se: (name, Measured(value, CATALOGUE[name].unit, protocol, n, se)),
    st.sampled_from(sorted(CATALOGUE)), NUMBERS, WORDS, COUNTS, st.none() | st.floats(0, 1e300),
)  # fmt: skip
IDENTITIES = st.builds(
    Identity, st.just("fake.act"), st.sampled_from(["plain", "double", "x-1.5"]), st.sampled_from(["smoke", "cpu"]),
    st.integers(0, 2**60), st.integers(1, 99), CONFIGS, st.dictionaries(WORDS, WORDS, max_size=2), CONFIGS, CONFIGS,
)  # fmt: skip
RECORDS = st.builds(
    Record, IDENTITIES, st.sampled_from(STATUSES), st.none() | st.text(st.characters(codec="utf-8")),
    st.none() | NUMBERS, COUNTS, st.lists(MEASURED, max_size=4).map(dict),
    st.dictionaries(WORDS, st.lists(NUMBERS | st.just(math.nan), max_size=4).map(
        lambda y: Curve(tuple(map(float, range(len(y)))), tuple(y), "x", "y")), max_size=2),
    environment=CONFIGS.map(lambda tree: {f"own {key}": value for key, value in tree.items()}),
    started=st.datetimes(timezones=st.timezones()).map(lambda t: t.isoformat()) | st.just(""),
    duration_s=st.floats(0, 1e9), resumed=st.integers(0, 9), notes=st.lists(WORDS, max_size=2),
)  # fmt: skip
QUICK = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@QUICK
@given(made=RECORDS)
def test_every_record_that_can_be_made_comes_back_as_it_was(tmp_path: Path, made: Record) -> None:
    path = write(tmp_path, made)
    back = read(path)
    assert (back.identity, back.status, back.message) == (made.identity, made.status, made.message)
    assert back.metrics == made.metrics
    assert back.to_json() == made.to_json()
    assert read(write(tmp_path, back)).status in ({made.status} | SETTLED)


TYPES: dict[str, st.SearchStrategy[Any]] = {
    "id": WORDS, "text": WORDS, "where": WORDS, "value": NUMBERS, "unit": WORDS, "tolerance": st.floats(1e-9, 1e9),
    "kind": st.sampled_from(["value", "ratio", "order", "bound", "text", "x"]),
    "source": st.sampled_from(["read", "derived", "x"]), "experiment": st.sampled_from(["fake.act", "x"]),
    "variant": st.sampled_from(["plain", "x"]), "metric": st.sampled_from(["max_error", "nfe[1]", "x", ""]),
    "difference": st.booleans(), "relation": st.sampled_from(["<", "~", "x"]),
    "verdict": st.sampled_from(["impossible", "x"]), "note": WORDS, "not_run": WORDS,
    "tier": st.sampled_from(["cpu", "x"]),
}  # fmt: skip


@QUICK
@given(table=st.fixed_dictionaries({}, optional=TYPES), more=st.dictionaries(WORDS, PLAIN, max_size=1))
def test_a_claims_file_is_read_or_refused(fake_paper, tmp_path: Path, table: dict[str, Any], more) -> None:
    lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in (table | more).items()]
    path = tmp_path / "claims.toml"
    path.write_text("[[claim]]\n" + "\n".join(lines), encoding="utf-8")
    try:
        (claim,) = read_claims(path, "fake")
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert (claim.id, claim.kind) == (table["id"], table["kind"])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("claim = 3", r"other things than \[\[claim\]\]"),
        ("[[claims]]", r"other things than \[\[claim\]\]"),
        ("claim = [3]", "number 1 is no table"),
        ("[[claim]]\nid = 3", "id must be a text"),
        ("[[claim]]\nvalue = true", "value must be a number"),
        ("[[claim]]\nvalue = nan", "value must be a number"),
        ("[[claim]]\nvalue = 1e200", "value must be a number"),
        ("[[claim]]\nscale = 0", "scale must not be so small"),
        ("[[claim]]\ntolerance = 1e-200", "tolerance must not be so small"),
        ("[[claim]]\ntolerance_abs = -1", "must not be negative"),
        ("[[claim]]\nagainst = 3", "against must have"),
        ("[[claim]]\nagainst = { variant = 3 }", "against.variant must be a text"),
        ("[[claim]]\ndifference = 1", "true or false"),
        ("[[claim]]\nvalue = " + "9" * 5000, "not valid TOML"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a." * PARTS + "a = 1", "parts"),
    ],
)
def test_what_is_wrong_with_a_claims_file_is_said(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "claims.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=fault):
        read_claims(path, "fake")


def test_a_file_of_settings_has_a_largest_size(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(UserError, match="more than 1048576"):
        read_toml(tmp_path / "x.toml")


@pytest.mark.parametrize(
    "value",
    ["2020-01-01", "1e400", "9" * 30, "{}", "[1, 2]", "true", '"' + "x" * 2000 + '"', '"\\u001b[31m"', "inf"],
)
def test_a_setting_of_another_kind_is_refused(fake_paper, value: str) -> None:
    experiment = registry()["fake.act"]
    key, read_value = read_setting(f"factor={value}")
    with pytest.raises(UserError, match=r"fake\.act: config key 'factor' wants"):
        replace(experiment.config, {key: read_value}, experiment.name)


def test_the_values_of_a_list_have_the_type_of_those_declared() -> None:
    experiment = registry()["ffjord.toy"]
    with pytest.raises(UserError, match="wants int, got str"):
        replace(experiment.config, {"hidden": [64, "x"]}, experiment.name)
    with pytest.raises(UserError, match="more than 1000"):
        replace(experiment.config, {"hidden": [1] * 1001}, experiment.name)


@pytest.mark.parametrize("shape", ["(10**12,)", "(-1, -20)", "(4, 6)", "()", "(2**70,)"])
def test_no_array_has_another_size_than_its_file(tmp_path: Path, shape: str) -> None:
    content = npy_file(np.ones((4, 5)))
    place = tmp_path / "x.npy"
    head = content[10 : 10 + int.from_bytes(content[8:10], "little")].decode()
    new = head.replace("(4, 5)", str(eval(shape))).rstrip()
    place.write_bytes(content[:10] + new.ljust(len(head) - 1).encode() + b"\n" + content[10 + len(head) :])
    with pytest.raises(UserError, match="announces"):
        arrays.read_npy(place)


def test_an_archive_of_arrays_does_not_unpack_beyond_its_limit(tmp_path: Path, monkeypatch) -> None:
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(100_000))
    monkeypatch.setattr(arrays, "UNPACKED", 100_000)
    with pytest.raises(UserError, match="unpacks to"):
        arrays.read_npz(tmp_path / "x.npz")


def test_pickled_arrays_are_refused_unread(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="no numbers"):
        arrays.read_npy(tmp_path / "x.npy")


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch) -> None:
    import gzip

    monkeypatch.setattr(images, "UNPACKED", 1000)
    (tmp_path / "x.gz").write_bytes(gzip.compress(bytes(10_000)))
    with pytest.raises(UserError, match="unpacks to more"):
        images._read_idx(tmp_path / "x.gz", 3)
