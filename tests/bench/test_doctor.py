"""A folder with one of every fault: each is listed, moved aside on request, and stops nothing else."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from test_cli import cli

from bench.doctor import examine, move_aside, superseded
from bench.errors import UserError
from bench.execution.run import Run
from bench.execution.worker import keep
from bench.identity import identify
from bench.record import Measured, Record, artifact_path, describe, find, read_all, write
from bench.registry import registry


def run(folder: Path, seed: int, arrays: bool = False) -> Path:
    made = Run(identify(registry()["fake.act"], "plain", "cpu", seed), folder)
    if arrays:
        made.artifact("a", [float(seed)])
    kept = {key: describe(array) for key, array in made.artifacts.items()}
    return keep(
        made, Record(made.identity, "done", metrics={"max_error": Measured(1.0, "", "p")}, artifacts=kept)
    )


def torn(folder: Path) -> Path:
    path = run(folder, 10)
    path.write_text(path.read_text()[:100])
    return path


def misplaced(folder: Path) -> Path:
    path = run(folder, 11)
    return path.rename(path.with_name("plain.cpu.s12.0123456789.json"))


def draft(folder: Path) -> Path:
    path = folder / "records" / "fake.act" / ".plain.cpu.s0.json.0123456789abcdef.part"
    path.write_text("{")
    return path


def stray(folder: Path) -> Path:
    path = folder / "records" / "fake.act" / "notes.txt"
    path.write_text("mine")
    return path


def stray_json(folder: Path) -> Path:
    path = folder / "records" / "fake.act" / "notes.json"
    path.write_text("{}")
    return path


def stray_above(folder: Path) -> Path:
    path = folder / "records" / "notes.json"
    path.write_text("{}")
    return path


def named_as_a_record(folder: Path) -> Path:
    path = folder / "records" / "fake.act" / "folder.json"
    path.mkdir()
    return path


def pipe(folder: Path) -> Path:
    path = folder / "records" / "fake.act" / "pipe.json"
    os.mkfifo(path)
    return path


def link(folder: Path) -> Path:
    path = folder / "records" / "fake.act" / "linked.json"
    path.symlink_to(folder.parent / "mine")
    return path


def linked_folder(folder: Path) -> Path:
    path = folder / "records" / "fake.train"
    path.symlink_to(folder.parent)
    return path


def orphan(folder: Path) -> Path:
    path = run(folder, 13, arrays=True)
    path.unlink()
    (arrays,) = (folder / "artifacts" / "fake.act").glob("plain.cpu.s13.*")
    return arrays


def other_arrays(folder: Path) -> Path:
    path = run(folder, 14, arrays=True)
    arrays = Path(str(path).replace("records", "artifacts")).with_suffix(".npz")
    arrays.write_bytes(arrays.read_bytes()[:-30])
    return path


def loser(folder: Path) -> Path:
    path = run(folder, 15)
    identity = next(r.identity for r in find([folder]).records if r.path == path)
    return write(folder, Record(identity, "error", "planted"))


def damaged(folder: Path) -> Path:
    path = torn(folder)
    run(folder, 10)
    return path.with_name(path.name + ".damaged")


FAULTS = [
    torn, misplaced, draft, stray, stray_json, stray_above, named_as_a_record, pipe, link, linked_folder,
    orphan, other_arrays, loser, damaged,
]  # fmt: skip


@pytest.fixture
def folder(fake_paper, tmp_path: Path) -> Path:
    out = tmp_path / "results"
    (tmp_path / "mine").write_text("mine")
    run(out, 0, arrays=True)
    run(out, 1)
    return out


@pytest.mark.parametrize("plant", FAULTS)
def test_each_fault_is_listed_moved_aside_and_no_other_record_is_lost(folder: Path, plant) -> None:
    assert examine(folder) == []
    path = plant(folder)
    seeds = {r.identity.seed for r in find([folder]).records}
    assert {0, 1} <= seeds
    findings = examine(folder)
    assert path in {finding.path for finding in findings}
    moved = move_aside(folder, findings, folder / "quarantine")
    assert folder / "quarantine" / path.relative_to(folder) in moved
    assert examine(folder) == []
    assert {0, 1} <= {r.identity.seed for r in read_all([folder])}
    assert (folder.parent / "mine").read_text() == "mine"


def test_what_is_moved_takes_no_place_of_what_was_moved_before(folder: Path) -> None:
    for _ in range(2):
        stray(folder)
        move_aside(folder, examine(folder), folder / "quarantine")
    names = sorted(p.name for p in (folder / "quarantine" / "records" / "fake.act").iterdir())
    assert names == ["notes.txt", "notes.txt.2"]


def test_a_record_of_an_earlier_schema_stays(folder: Path) -> None:
    path = folder / "records" / "fake.act" / "plain.cpu.s3.0123456789.json"
    path.write_text(json.dumps({"schema": 1}))
    (finding,) = examine(folder)
    assert (finding.path, finding.movable) == (path, False)
    assert move_aside(folder, [finding], folder / "quarantine") == []


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        examine(tmp_path / "none")


def test_one_bad_item_stops_no_command_and_is_named_at_the_end(folder: Path) -> None:
    for plant in FAULTS:
        plant(folder)
    for arguments in (["claims", folder], ["status", folder], ["report", folder, "--out", folder / "report"]):
        done = cli(*arguments)
        assert done.returncode == 3, done.stderr
        assert "Traceback" not in done.stderr
        assert "skipped: " in done.stderr
        assert "notes.json" in done.stderr
        assert "5 skipped" in done.stderr
    assert (folder / "report" / "index.html").is_file()
    listed = cli("doctor", folder)
    assert listed.returncode == 3
    assert cli("doctor", folder, "--fix").returncode == 0
    assert cli("doctor", folder).stdout.strip().endswith("nothing is wrong")
    assert cli("claims", folder).returncode == 0


def test_a_run_whose_record_is_damaged_is_done_again_and_says_so(folder: Path) -> None:
    path = torn(folder)
    done = cli("run", "fake.act/plain", "--tier", "cpu", "--seed", 10, "--seed", 0, "--out", folder)
    assert done.returncode == 3
    assert "1 runs to do, 1 already recorded" in done.stderr
    assert f"skipped: record {path} is malformed" in done.stderr
    assert path.with_name(path.name + ".damaged").is_file()
    again = cli("run", "fake.act/plain", "--tier", "cpu", "--seed", 10, "--out", folder)
    assert again.returncode == 0


def test_arrays_without_an_entry_in_their_record_are_listed(folder: Path) -> None:
    path = run(folder, 1)
    identity = next(r.identity for r in find([folder]).records if r.path == path)
    place = artifact_path(folder, identity)
    place.write_bytes(b"")
    assert [finding.path for finding in examine(folder)] == [place]


def older(folder: Path, seed: int, stale: bool = False) -> Path:
    """A record of a run that is to be renewed: of the random streams of schema 1, or of another config."""
    today = identify(registry()["fake.act"], "plain", "cpu", seed)
    if stale:
        old = replace(today, config={**today.config, "factor": 7.0})
    else:  # a field that was declared later: another id, and current
        config = {key: value for key, value in today.config.items() if key != "factor"}
        old = replace(today, config=config, seeded_by={"schema": 1, "pairing": "x"})
    made = Run(old, folder)
    made.artifact("a", [2.0])
    kept = {key: describe(array) for key, array in made.artifacts.items()}
    return keep(made, Record(old, "done", metrics={"max_error": Measured(2.0, "", "p")}, artifacts=kept))


def test_what_a_fresh_record_replaced_does_not_contradict_it_and_is_moved_by_one_command(folder) -> None:
    streams, stale, alone = older(folder, 0), older(folder, 1, stale=True), older(folder, 5)
    mine = stray(folder)
    found = find([folder])
    assert (found.hidden, [r.path for r in found.superseded]) == ([], [streams])
    findings = superseded(folder)
    arrays = [
        Path(str(path).replace("records", "artifacts")).with_suffix(".npz") for path in (streams, stale)
    ]
    assert {finding.path for finding in findings} == {streams, stale, *arrays}
    move_aside(folder, findings, folder / "quarantine")
    assert superseded(folder) == []
    assert find([folder]).superseded == []
    assert mine.is_file()
    assert alone.is_file()
    assert {0, 1, 5} == {r.identity.seed for r in find([folder]).records}


def test_stale_records_of_two_folders_contradict_nothing(folder, tmp_path) -> None:
    older(folder, 1, stale=True)
    older(tmp_path / "other", 1, stale=True)
    assert find([folder, tmp_path / "other"]).hidden == []


def test_a_fresh_record_that_is_not_settled_replaces_none(folder) -> None:
    today = identify(registry()["fake.act"], "plain", "cpu", 5)
    old = older(folder, 5)
    write(folder, Record(today, "interrupted"))
    assert superseded(folder) == []
    write(folder, Record(today, "done"))
    assert old in [finding.path for finding in superseded(folder)]
    assert cli("doctor", folder, "--superseded").returncode == 3
    assert cli("doctor", folder, "--superseded", "--fix").returncode == 0
    assert cli("doctor", folder, "--superseded").stdout.strip().endswith("nothing is superseded")
    assert not old.exists()
