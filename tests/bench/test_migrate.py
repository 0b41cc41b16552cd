"""Records of schema 1 become today's: what they measured stays, pictures become arrays, the seeds are marked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import UserError
from bench.identity import digest, identify, is_current
from bench.migrate import migrate_folder
from bench.record import read, read_all
from bench.registry import registry
from bench.report.status import outdated, summary
from bench.verdict import judge_all


def old_record(config: dict[str, Any], curves: dict[str, Any], value: float = 2.0) -> dict[str, Any]:
    identity = {
        "experiment": "fake.act", "variant": "plain", "tier": "cpu", "seed": 0, "version": 1, "config": config,
        "data": {}, "method_fields": ["behaviour", "factor"],
    }  # fmt: skip
    return {
        "schema": 1, "id": digest(identity), "identity": identity, "status": "done", "message": None, "last_t": None,
        "nfe": None, "metrics": {"max_error": {"value": value, "unit": "", "protocol": "p", "n": 3, "se": 0.5}},
        "curves": curves, "environment": {}, "command": "c", "started": "2026-01-01T00:00:00+00:00",
        "duration_s": 7200.0, "resumed": 0,
    }  # fmt: skip


def curve(x: list[float], y: list[float | None], x_label: str, y_label: str) -> dict[str, Any]:
    return {"x": x, "y": y, "x_label": x_label, "y_label": y_label}


def packed(levels: list[int]) -> float:
    return float(sum(v * 16**k for k, v in enumerate(levels)))


@pytest.fixture
def folder(fake_paper, tmp_path: Path) -> Path:
    curves = {
        "loss": curve([1, 2], [3.0, None], "iteration", "loss"),
        "density": curve([0, 1, 2, 3], [0.1, 0.2, 0.3, 0.4], "cell", "p"),
        "samples": curve([1, 2], [3, 4], "x", "y"),
        "grey": curve([1, 1, 1, 2], [8, 16], "shape", "value of 17"),
        "digits": curve([1, 2, 1], [packed([15, 4])], "shape", "13 pixels of 16 levels each"),
    }
    path = tmp_path / "records" / "fake.act" / "plain.cpu.s0.0123456789.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(old_record({"behaviour": "measure", "factor": 1.0}, curves)))
    model = tmp_path / "models" / "fake.act" / f"{path.stem}.pt"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"model")
    return tmp_path


def test_what_was_measured_stays_and_what_was_no_curve_becomes_an_array(folder: Path) -> None:
    assert migrate_folder(folder) == (1, [])
    assert migrate_folder(folder) == (0, [])
    (path,) = folder.glob("records/*/*.json")
    record = read(path)
    assert record.identity.id == identify(registry()["fake.act"], "plain", "cpu", 0).id
    assert (record.metrics["max_error"].value, record.metrics["max_error"].se) == (2.0, 0.5)
    assert (record.command, record.duration_s, record.status) == ("c", 7200.0, "done")
    assert list(record.curves) == ["loss"]
    assert record.curves["loss"].y[0] == 3.0
    np.testing.assert_allclose(record.array("density"), [[0.1, 0.2], [0.3, 0.4]], rtol=1e-6)
    np.testing.assert_array_equal(record.array("samples"), [[1, 3], [2, 4]])
    np.testing.assert_array_equal(record.array("grey"), [[[[128, 255]]]])
    np.testing.assert_array_equal(record.array("digits"), [[[255], [68]]])
    (model,) = folder.glob("models/*/*")
    assert model.stem == path.stem


def test_old_seeds_are_marked_and_to_be_renewed_but_not_stale(folder: Path) -> None:
    migrate_folder(folder)
    (record,) = read_all([folder])
    assert is_current(record.identity)
    shared: dict[str, Any] = {}
    pairing = digest(["fake.act", "cpu", 0, 1, shared, {}])
    assert record.identity.seeded_by == {"schema": 1, "pairing": pairing}
    (row,) = outdated(read_all([folder]))
    assert not row.stale
    lines = list(summary([row]))
    assert lines[0].startswith("fake.act/plain cpu, seeds 0: its random streams are those of schema 1")
    assert lines[-1] == "0 records stale, 1 to renew; all of it costs 2.00 core hours"


def test_a_run_with_old_seeds_is_missing_and_its_renewal_takes_its_place(folder: Path) -> None:
    from bench.execution.plan import missing, plan
    from bench.record import Measured, Record, write

    migrate_folder(folder)
    jobs = plan(["fake.act/plain"], "cpu", [0])
    assert missing(jobs, folder) == jobs
    write(
        folder,
        Record(
            jobs[0].identity,
            "done",
            metrics={"max_error": Measured(5.0, "", "p")},
            started="2026-02-01T00:00:00+00:00",
        ),
    )
    assert missing(jobs, folder) == []
    (record,) = read_all([folder])
    assert record.value("max_error") == 5.0
    assert outdated(read_all([folder])) == []


def test_verdicts_are_those_of_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_verdict import claim

    monkeypatch.setattr("bench.evidence.SEEDS_OF_SCHEMA_1", 1)
    migrate_folder(folder)
    (verdict,) = judge_all([claim(deterministic=True)], read_all([folder]))
    assert (verdict.verdict, verdict.values) == ("reproduced", (2.0,))


def test_settings_that_are_declared_no_more_are_named(folder: Path) -> None:
    path = folder / "records" / "fake.act" / "plain.cpu.s1.0123456789.json"
    path.write_text(json.dumps(old_record({"behaviour": "measure", "speed": 3}, {})))
    migrate_folder(folder)
    reasons = {row.reason for row in outdated(read_all([folder])) if row.stale}
    assert reasons == {"speed is no longer declared"}


def test_a_malformed_record_is_named_and_an_old_one_says_what_to_do(folder: Path) -> None:
    (path,) = folder.glob("records/*/*.json")
    with pytest.raises(UserError, match="of schema 1; run `cnf-bench migrate"):
        read(path)
    path.write_text('{"schema": 1, "identity": {}}')
    good = path.with_name("plain.cpu.s1.0123456789.json")
    good.write_text(json.dumps(old_record({"behaviour": "measure", "factor": 2.0}, {})))
    done, (line,) = migrate_folder(folder)
    assert done == 1
    assert f"record {path} is malformed" in line
    assert path.is_file()
    assert not good.exists()
    with pytest.raises(UserError, match="no folder"):
        migrate_folder(folder / "none")


@pytest.mark.parametrize("removed", ["nothing", "the model"])
def test_a_call_that_was_cut_is_gone_on_with(folder: Path, removed: str) -> None:
    (path,) = (folder / "records" / "fake.act").iterdir()
    old, model = path.read_bytes(), folder / "models" / "fake.act" / f"{path.stem}.pt"
    assert migrate_folder(folder) == (1, [])
    after = {p: p.read_bytes() for p in folder.rglob("*.*") if p.is_file()}
    path.write_bytes(old)  # as a call leaves it that ends before the last step
    if removed == "nothing":
        model.write_bytes(b"model")
        after |= {p: b"model" for p in after if p.parent == model.parent}
        next(p for p in after if p.parent == model.parent).unlink()
    assert migrate_folder(folder) == (1, [])
    assert {p: p.read_bytes() for p in folder.rglob("*.*") if p.is_file()} == after


def test_another_record_in_the_place_is_kept(folder: Path) -> None:
    (path,) = (folder / "records" / "fake.act").iterdir()
    old = json.loads(path.read_text())
    migrate_folder(folder)
    old["duration_s"] = 1.0
    path.write_text(json.dumps(old))
    done, (bad,) = migrate_folder(folder)
    assert done == 0
    assert "another record of today's schema" in bad
    assert path.exists()
