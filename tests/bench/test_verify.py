"""What `verify` calls moved, what it repeats, and how it ends."""

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import verify
from bench.data import registry as data
from bench.errors import UserError
from bench.identity import identify
from bench.metrics.catalogue import metric, split_key
from bench.record import Measured, Record, write
from bench.registry import registry
from bench.report import manifest
from bench.report.build import publish
from bench.report.content import Report, collect


def record(values: dict[str, float], seed: int = 0, variant: str = "plain", **changes) -> Record:
    identity = identify(registry()["fake.act"], variant, "cpu", seed)
    metrics = {key: Measured(value, metric(split_key(key)[0]).unit, "p") for key, value in values.items()}
    return replace(Record(identity, "done", metrics=metrics, duration_s=1.0), **changes)


def test_a_metric_moved_where_it_leaves_the_relative_tolerance(fake_paper) -> None:
    before = record({"max_error": 2.0, "nfe": 7.0})
    assert verify.deviations(before, record({"max_error": 2.09, "nfe": 7.0}), 0.05) == []
    assert verify.deviations(before, record({"max_error": 1.91, "nfe": 7.0}), 0.05) == []
    (line,) = verify.deviations(before, record({"max_error": 2.2, "nfe": 7.0}), 0.05)
    assert line == "fake.act/plain cpu seed 0: max_error was 2, now 2.2"
    (line,) = verify.deviations(before, record({"max_error": 2.0}), 0.05)
    assert "nfe was 7, now None" in line


def test_numbers_at_rounding_are_equal_and_those_of_the_machine_are_left_out(fake_paper) -> None:
    small = record({"max_error": 1e-12})
    assert verify.deviations(small, record({"max_error": 9e-10}), 0.05) == []
    assert len(verify.deviations(small, record({"max_error": 1.5e-9}), 0.05)) == 1
    machine = {
        "train_time": 1.0,
        "resident_memory": 1.0,
        "overhead[step]": 1.0,
        "ratio[a/b]": 1.0,
        "time_slope": 1.0,
    }
    assert verify.deviations(record(machine), record(dict.fromkeys(machine, 99.0)), 0.05) == []
    # Not of the machine: counts, errors, exact bytes.
    assert len(verify.deviations(record({"peak_memory": 1.0}), record({"peak_memory": 2.0}), 0.05)) == 1


def test_one_short_finished_current_record_a_variant_is_repeated(fake_paper, monkeypatch) -> None:
    found = [
        record({}, seed=1), record({}, seed=0), record({}, variant="double", duration_s=40.0),
        record({}, variant="breaks", status="error"),
    ]  # fmt: skip
    stale = record({}, variant="sleeps")
    stale.identity = replace(stale.identity, version=9)
    (chosen,) = verify.repeatable([*found, stale], 30.0)
    assert (chosen.identity.variant, chosen.identity.seed) == ("plain", 0)
    assert verify.repeatable([record({})], 1.0)  # it took as long as it may
    assert not verify.repeatable([record({})], 0.99)
    assert len(verify.repeatable(found, 60.0)) == 2
    monkeypatch.setattr(verify, "_has_data", lambda record: False)
    assert verify.repeatable(found, 60.0) == []


def test_a_record_whose_data_is_absent_is_not_repeated(monkeypatch) -> None:
    job = identify(registry()["lecture.mnist"], "mnist", "cpu", 0)
    for here in (True, False):
        monkeypatch.setattr(data.DataSet, "locate", lambda self, here=here: {} if here else None)
        assert verify._has_data(Record(job, "done")) is here


@pytest.mark.parametrize(("value", "stale", "code"), [(0.0, [], 0), (1.0, [], 1), (0.0, ["tables/x.md"], 1)])
def test_the_exit_code_tells_whether_everything_holds(
    fake_paper, tmp_path: Path, monkeypatch, capsys, value: float, stale: list[str], code: int
) -> None:
    from bench.execution.run import Run

    identity = identify(registry()["fake.act"], "plain", "cpu", 0)
    true = Run(identity, tmp_path).numpy_generator("error").uniform()
    write(tmp_path, record({"max_error": true + value, "nfe": 7.0}))
    monkeypatch.setattr(verify, "stale_files", lambda report, out: stale)
    monkeypatch.setattr(sys, "argv", ["verify", str(tmp_path)])
    assert verify.main() == code
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        *(f"differs from what the records give: {tmp_path / name}" for name in stale),
        *([f"fake.act/plain cpu seed 0: max_error was {true + 1:.6g}, now {true}"] if value else []),
        f"report: {len(stale)} stale files; 1 records repeated, {int(value > 0)} metrics moved",
    ]
    assert shown.err.splitlines()[0] == "1 runs to do"


def test_files_that_differ_or_are_no_more_are_stale(fake_paper, tmp_path: Path) -> None:
    report = collect([record({"max_error": 2.0, "nfe": 7.0})])
    publish(report, tmp_path)
    assert verify.stale_files(report, tmp_path) == []
    (tmp_path / "tables" / "own.md").write_text("of the user's own")
    assert verify.stale_files(report, tmp_path) == []
    (tmp_path / "tables" / "claims.md").write_text("other")
    (tmp_path / "tables" / "fake.act.csv").unlink()
    (tmp_path / "tables" / "gone.md").write_text("of an experiment that is no more")
    listed = manifest.read(tmp_path) | {"tables/gone.md": [""]}
    (tmp_path / manifest.NAME).write_text(manifest.text(listed))
    assert verify.stale_files(report, tmp_path) == [
        "manifest.json",
        "tables/claims.md",
        "tables/fake.act.csv",
        "tables/gone.md",
    ]
    assert "tables/claims.md" in verify.stale_files(report, tmp_path / "empty")


def test_runs_longer_than_half_a_minute_are_not_repeated_unless_asked_for(
    fake_paper, tmp_path, monkeypatch
) -> None:
    write(tmp_path, record({}, duration_s=31.0))
    monkeypatch.setattr(verify, "stale_files", lambda report, out: [])
    chosen: list[int] = []
    monkeypatch.setattr(verify, "repeat", lambda records, tolerance: chosen.append(len(records)) or [])
    for arguments in ([], ["--seconds", "40"]):
        monkeypatch.setattr(sys, "argv", ["verify", str(tmp_path), *arguments])
        assert verify.main() == 0
    assert chosen == [0, 1]


def test_one_in_twenty_may_move_unless_more_is_allowed(fake_paper, tmp_path, monkeypatch) -> None:
    write(tmp_path, record({"max_error": 1.0}))
    monkeypatch.setattr(verify, "stale_files", lambda report, out: [])
    monkeypatch.setattr(verify, "execute", lambda jobs, folder, limits, told: write(folder, repeated))
    for value, arguments, code in ((1.04, [], 0), (1.07, [], 1), (1.07, ["--tolerance", "0.1"], 0)):
        repeated = record({"max_error": value})
        monkeypatch.setattr(sys, "argv", ["verify", str(tmp_path), *arguments])
        assert verify.main() == code


@pytest.mark.parametrize(("wrong", "code", "told"), [("", 0, ""), ("no figure", 2, "verify: no figure\n")])
def test_as_a_command_it_ends_with_its_code_and_one_line_for_a_fault(
    fake_paper, tmp_path, monkeypatch, capsys, wrong: str, code: int, told: str
) -> None:
    def refuse(report: Report, out: Path) -> None:
        if wrong:
            raise UserError(wrong)

    monkeypatch.setattr("bench.report.build.publish", refuse)
    monkeypatch.setattr(sys, "argv", ["verify", str(tmp_path)])
    monkeypatch.delitem(sys.modules, "bench.verify")
    with pytest.raises(SystemExit) as end:
        runpy.run_module("bench.verify", run_name="__main__")
    assert end.value.code == code
    assert capsys.readouterr().err.endswith(told)
