"""Identity, atomic records, pairing."""

import json
import re
from pathlib import Path

import pytest

from bench import record as records
from bench.errors import UserError
from bench.identity import identify
from bench.record import Measured, Record
from bench.registry import registry
from bench.schema import LONGEST


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


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("identity.seed", lambda t: t["identity"].update(seed=True)),
        ("identity.seed", lambda t: t["identity"].update(seed=-1)),
        ("identity.seed", lambda t: t["identity"].update(seed=0.0)),
        ("identity.tier", lambda t: t["identity"].update(tier="huge")),
        ("identity.tier", lambda t: t["identity"].update(tier=["cpu"])),
        ("identity.variant", lambda t: t["identity"].update(variant="../../x")),
        ("identity.config", lambda t: t["identity"].update(config=3)),
        ("identity.data.x", lambda t: t["identity"].update(data={"x": 3})),
        ("identity", lambda t: t["identity"].pop("seeded_by")),
        ("metrics.max_error.value", lambda t: t["metrics"]["max_error"].update(value=None)),
        ("metrics.max_error.value", lambda t: t["metrics"]["max_error"].update(value="1")),
        ("metrics.max_error.value", lambda t: t["metrics"]["max_error"].update(value=True)),
        ("metrics.max_error.unit", lambda t: t["metrics"]["max_error"].update(unit="s")),
        ("metrics.max_error.protocol", lambda t: t["metrics"]["max_error"].update(protocol=" ")),
        ("metrics.max_error.n", lambda t: t["metrics"]["max_error"].update(n=-1)),
        ("metrics.max_error.n", lambda t: t["metrics"]["max_error"].update(n=1.5)),
        ("metrics.max_error.se", lambda t: t["metrics"]["max_error"].update(se=-1.0)),
        ("metrics.fun", lambda t: t["metrics"].update(fun=t["metrics"]["max_error"])),
        ("metrics", lambda t: t["metrics"].update({"Max Error": t["metrics"]["max_error"]})),
        ("curves.c", lambda t: t.update(curves={"c": {"x": [1], "y": [], "x_label": "", "y_label": ""}})),
        (
            "artifacts.a.dtype",
            lambda t: t.update(artifacts={"a": {"shape": [1], "dtype": "|O", "sha256": ""}}),
        ),
        ("environment.cores", lambda t: t.update(environment={"cores": "two"})),
        ("environment.gpu", lambda t: t.update(environment={"gpu": {}})),
        ("environment.x", lambda t: t.update(environment={"x": json.loads("[" * 20 + "]" * 20)})),
        ("started", lambda t: t.update(started="yesterday")),
        ("started", lambda t: t.update(started="2026-01-01T00:00:00")),
        ("duration_s", lambda t: t.update(duration_s=-1)),
        ("resumed", lambda t: t.update(resumed=True)),
        ("nfe", lambda t: t.update(nfe=1.5)),
        ("last_t", lambda t: t.update(last_t="0")),
        ("message", lambda t: t.update(message=["x"])),
        ("notes", lambda t: t.update(notes="x")),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(act, tmp_path, place, change):
    path = records.write(tmp_path, done(act))
    edit(path, change)
    with pytest.raises(UserError, match=rf"\({place}") as caught:
        records.read(path)
    assert "\n" not in str(caught.value)


def test_a_changed_number_is_not_the_record(act, tmp_path):
    path = records.write(tmp_path, done(act, value=1.0))
    edit(path, lambda t: t["metrics"]["max_error"].update(value=1.5))
    with pytest.raises(UserError, match="sha256: it is not that of the content"):
        records.read(path)
    edit(path, lambda t: t.pop("sha256"))
    assert records.read(path).value("max_error") == 1.5


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"schema": 2', '"schema": ' + "[" * 100_000, "deeply"),
        ('"duration_s": 0.0', '"duration_s": 1e999', "not finite"),
        ('"duration_s": 0.0', '"duration_s": Infinity', "no number of JSON"),
        ('"duration_s": 0.0', f'"duration_s": {"9" * 30}', "30 digits"),
        ('"status": "done"', '"status": "error", "status": "done"', "twice"),
        ('"command": ""', '"command": "\\ud800"', "surrogates"),
        ('"command": ""', f'"command": "{"x" * 100_001}"', "characters"),
    ],
)
def test_limits_are_kept(act, tmp_path, old, new, fault):
    path = records.write(tmp_path, done(act))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=fault):
        records.read(path)


def test_a_record_under_another_name_is_no_record_of_that_run(act, tmp_path):
    path = records.write(tmp_path, done(act, seed=1))
    other = records.record_path(tmp_path, identify(act, "plain", "cpu", 0))
    other.write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=f"another name than its own, fake.act/{path.name}"):
        records.read(other)
    elsewhere = tmp_path / "records" / "fake.train" / path.name
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="another name"):
        records.read(elsewhere)


def test_a_settled_record_is_replaced_by_a_settled_one_only(act, tmp_path):
    path = records.write(tmp_path, done(act, value=1.0))
    identity = identify(act, "plain", "cpu", 0)
    beside = records.write(tmp_path, Record(identity, "error", "planted"))
    assert records.read(path).value("max_error") == 1.0
    assert beside.name == path.name + ".loser"
    assert records.read(beside).message == "planted"
    assert [r.status for r in records.read_all([tmp_path])] == ["done"]
    records.write(tmp_path, Record(identity, "diverged"))
    assert records.read(path).status == "diverged"


def test_an_unsettled_record_is_replaced_by_any(act, tmp_path):
    identity = identify(act, "plain", "cpu", 0)
    path = records.write(tmp_path, Record(identity, "timeout"))
    assert records.write(tmp_path, Record(identity, "error")) == path
    assert records.read(path).status == "error"
    records.write(tmp_path, done(act))
    assert records.read(path).status == "done"


def test_a_damaged_record_is_kept_beside_the_one_that_takes_its_place(act, tmp_path):
    path = records.write(tmp_path, done(act))
    for text in ("torn", "torn again"):
        path.write_text(text)
        records.write(tmp_path, Record(identify(act, "plain", "cpu", 0), "error"))
    kept = {p.name: p.read_text() for p in path.parent.iterdir() if ".damaged" in p.name}
    assert kept == {f"{path.name}.damaged": "torn", f"{path.name}.damaged.2": "torn again"}


def test_a_run_that_loses_keeps_the_arrays_and_the_model_of_the_settled_one(act, tmp_path):
    from bench.execution.run import Run
    from bench.execution.worker import keep

    run = Run(identify(act, "plain", "cpu", 0), tmp_path)
    run.artifact("a", [1.0, 2.0])
    run.save_model("torch.nn:Linear", {"in_features": 1, "out_features": 1}, {})
    arrays = {key: records.describe(array) for key, array in run.artifacts.items()}
    path = keep(run, Record(run.identity, "done", artifacts=arrays))
    (model,) = tmp_path.glob("models/*/*")
    before = model.read_bytes()
    run.artifact("a", [3.0])
    run.save_model("torch.nn:Linear", {"in_features": 2, "out_features": 2}, {})
    keep(run, Record(run.identity, "error"))
    assert records.read(path).array("a").tolist() == [1.0, 2.0]
    assert model.read_bytes() == before


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


def test_a_later_good_record_is_not_hidden_by_an_earlier_failed_one(act, tmp_path):
    mine, theirs = tmp_path / "results", tmp_path / "reports"
    identity = identify(act, "plain", "cpu", 0)
    records.write(mine, Record(identity, "timeout", started="2026-03-01T00:00:00+00:00"))
    records.write(theirs, done(act, value=2.0))
    found = records.find([mine, theirs])
    assert [r.status for r in found.records] == ["done"]
    assert [(a.status, b.status) for a, b in found.hidden] == [("done", "timeout")]


def test_where_records_of_one_run_differ_both_are_shown(act, tmp_path):
    from bench.report.doubles import differences, origins, table

    mine, theirs = tmp_path / "results", tmp_path / "reports"
    for seed in range(2):
        records.write(mine, done(act, seed=seed, value=1.0))
        records.write(theirs, done(act, seed=seed, value=1.0 + seed))
    found = records.find([mine, theirs])
    assert {r.value("max_error") for r in found.records} == {1.0}
    assert list(origins(found.hidden)) == [f"2 runs are shown from {mine} and not from {theirs}"]
    (line,) = differences(found.hidden)
    assert line == f"fake.act/plain cpu seed 1: max_error is 1, in {theirs} 2"
    assert table(found.hidden).rows == (("fake.act/plain cpu seed 1", "max_error", "1", "2", str(theirs)),)
    assert table(found.hidden[:1]) is None


def test_whatever_a_run_says_its_record_can_be_read(act, tmp_path):
    made = Record(
        identify(act, "plain", "cpu", 0), "error", message="half \ud800 a pair", notes=["x" * (LONGEST + 1)]
    )
    made.environment = {"\udfff": "\ud800"}
    back = records.read(records.write(tmp_path, made))
    assert (back.message, back.environment) == ("half ? a pair", {"?": "?"})
    assert back.notes == ["x" * LONGEST]


def test_a_folder_that_may_not_be_read_is_named_and_hides_no_other(act, tmp_path, monkeypatch):
    from bench.execution.plan import Job, missing
    from bench.migrate import migrate_folder
    from bench.models import find_record

    own = identify(act, "plain", "cpu", 0)
    records.write(tmp_path, Record(own, "done"))
    shut, listed = tmp_path / "records" / "fake.train", Path.iterdir
    shut.mkdir()

    def iterdir(path):
        if path == shut:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    told = f"folder {shut} can not be read (Permission denied); change its permissions"
    found = records.find([tmp_path])
    assert [r.identity for r in found.records] == [own]
    assert found.bad == [told]
    assert migrate_folder(tmp_path).bad == [told]
    with pytest.raises(UserError, match=re.escape(told)):
        find_record(tmp_path / "absent")
    jobs = [
        Job(registry()["fake.train"], identify(registry()["fake.train"], "sgd", "cpu", s)) for s in (0, 1)
    ]
    bad = []
    assert missing(jobs, tmp_path, bad=bad) == jobs
    assert bad == [told]
