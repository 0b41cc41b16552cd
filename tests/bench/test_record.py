"""Identity, atomic records, pairing."""

import json

import pytest

from bench import record as records
from bench.errors import UserError
from bench.identity import identify
from bench.record import Measured, Record
from bench.registry import registry


@pytest.fixture
def act(fake_paper):
    return registry()["fake.act"]


def done(experiment, variant="plain", seed=0, value=1.0):
    identity = identify(experiment, variant, "cpu", seed)
    return Record(identity, "done", metrics={"max_error": Measured(value, "", "p")})


def test_the_identity_changes_with_everything_it_names(act):
    base = identify(act, "plain", "cpu", 0)
    others = [
        identify(act, "double", "cpu", 0),
        identify(act, "plain", "smoke", 0),
        identify(act, "plain", "cpu", 1),
        identify(act, "plain", "cpu", 0, {"factor": 3.0}),
    ]
    assert len({base.id, *(o.id for o in others)}) == 5
    assert base.id == identify(act, "plain", "cpu", 0).id


def test_variants_are_paired_and_seeds_are_not(act):
    base = identify(act, "plain", "cpu", 0)
    assert base.stream_seed("x") == identify(act, "double", "cpu", 0).stream_seed("x")
    assert base.stream_seed("x") == identify(act, "plain", "smoke", 0, {"behaviour": "raise"}).stream_seed(
        "x"
    )
    assert base.stream_seed("x") != identify(act, "plain", "cpu", 1).stream_seed("x")
    assert base.stream_seed("x") != base.stream_seed("y")


def test_a_record_comes_back_as_it_was_written(act, tmp_path):
    written = done(act, value=0.1)
    written.curves["c"] = records.Curve((0.0, 1.0), (1.0, float("nan")), "x", "y")
    path = records.write(tmp_path, written)
    back = records.read(path)
    assert back.identity == written.identity
    assert back.metrics == written.metrics
    assert back.curves["c"].y[0] == 1.0
    assert back.curves["c"].y[1] != back.curves["c"].y[1]
    assert [r.identity.id for r in records.read_all([tmp_path])] == [written.identity.id]


def test_a_rerun_replaces_the_record(act, tmp_path):
    records.write(tmp_path, done(act, value=1.0))
    path = records.write(tmp_path, done(act, value=2.0))
    assert records.read(path).value("max_error") == 2.0
    assert len(list(records.read_all([tmp_path]))) == 1


def test_the_first_folder_wins(act, tmp_path):
    records.write(tmp_path / "a", done(act, value=1.0))
    records.write(tmp_path / "b", done(act, value=2.0))
    (only,) = records.read_all([tmp_path / "a", tmp_path / "b"])
    assert only.value("max_error") == 1.0


def edit(path, change):
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("status"),
        lambda t: t.update(status="fine"),
        lambda t: t.update(schema=99),
        lambda t: t.update(surprise=1),
        lambda t: t["identity"].update(seed=5),
        lambda t: t.update(metrics={"max_error": 3}),
        lambda t: t.update(metrics=[]),
    ],
)
def test_a_malformed_record_is_refused_in_one_line(act, tmp_path, change):
    path = records.write(tmp_path, done(act))
    edit(path, change)
    with pytest.raises(UserError, match="delete it and run again") as caught:
        records.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_torn_record_is_refused(act, tmp_path, text):
    path = records.write(tmp_path, done(act))
    path.write_text(text)
    with pytest.raises(UserError, match="delete it"):
        records.read(path)


def test_a_failed_write_keeps_the_old_record(act, tmp_path, monkeypatch):
    path = records.write(tmp_path, done(act, value=1.0))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        records.write(tmp_path, done(act, value=2.0))
    assert records.read(path).value("max_error") == 1.0
    assert [p.name for p in path.parent.iterdir()] == [path.name]
