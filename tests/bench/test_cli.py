"""The command line: what it prints, what it imports, and one line with exit code 2 for a fault of the input."""

import json
import os
import subprocess
import sys

import pytest

from bench.cli.main import main
from bench.record import read_all


def cli(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, check=False, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip


@pytest.fixture
def results(fake_paper, tmp_path):
    out = tmp_path / "results"
    done = cli("run", "fake.act/plain", "fake.act/double", "--tier", "cpu", "--jobs", 2, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def test_the_verbs_work_one_after_the_other(results):
    again = cli("run", "fake.act/plain", "--tier", "cpu", "--out", results)
    assert "0 runs to do, 3 already recorded" in again.stderr  # as many seeds as are declared
    record = next((results / "records" / "fake.act").glob("plain.cpu.s0.*.json"))
    shown = cli("show", record)
    assert shown.returncode == 0
    assert "max_error" in shown.stdout
    verdicts = json.loads(cli("claims", results, "--json").stdout)
    by_id = {v["id"]: v for v in verdicts}
    assert by_id["fake.double"]["verdict"] == "reproduced"
    assert by_id["fake.double"]["measured"] == pytest.approx(2.0)
    built = cli("report", results, "--out", results / "report")
    assert built.stdout.strip().endswith("index.html")
    assert (results / "report" / "index.html").is_file()


def test_list_as_json_is_whole(fake_paper):
    rows = {row["name"]: row for row in json.loads(cli("list", "--json").stdout)}
    assert rows["fake.act"]["tiers"] == ["smoke", "cpu"]
    assert {"name", "title", "variants", "tiers", "metrics"} <= set(rows["fake.train"])


@pytest.mark.parametrize("arguments", [["list"], ["report", "{out}", "--out", "{out}/report"]])
def test_neither_list_nor_report_imports_torch(fake_paper, tmp_path, arguments):
    (tmp_path / "records").mkdir()
    code = (
        "import sys; from bench.cli.main import app; "
        "app([a.format(out=sys.argv[1]) for a in sys.argv[2:]], standalone_mode=False); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


BAD = {
    "unknown pattern": (["run", "fake.nope"], "no experiment matches"),
    "unknown variant": (["run", "fake.act/nope"], "no experiment matches"),
    "unknown tier": (["run", "fake.act", "--tier", "huge"], "unknown tier"),
    "unknown config key": (["run", "fake.act", "--config", "{tmp}/key.toml"], "unknown config key"),
    "malformed TOML": (["run", "fake.act", "--config", "{tmp}/bad.toml"], "not valid TOML"),
    "config that tells variants apart": (
        ["run", "fake.act", "--config", "{tmp}/method.toml"],
        "run that variant instead",
    ),
    "config that is not finite": (["run", "fake.train", "--config", "{tmp}/nan.toml"], "finite number"),
    "no such device": (["run", "fake.act", "--device", "banana"], "unknown device"),
    "no such config": (["run", "fake.act", "--config", "{tmp}/none.toml"], "cannot read"),
    "out is a file": (["run", "fake.act", "--out", "{tmp}/bad.toml"], "cannot write"),
    "no such folder": (["report", "{tmp}/none"], "no folder"),
    "malformed record": (["show", "{tmp}/torn/records/fake.act/plain.json"], "delete it and run again"),
    "no such run": (["show", "{tmp}/none.json"], "no record"),
    "unknown data set": (["data", "fetch", "nope"], "nope"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(fake_paper, tmp_path, case):
    (tmp_path / "key.toml").write_text('["fake.act"]\nfaktor = 2.0\n')
    (tmp_path / "method.toml").write_text('["fake.act"]\nfactor = 2.0\n')
    (tmp_path / "nan.toml").write_text('["fake.train"]\npause = nan\n')
    (tmp_path / "bad.toml").write_text("a = \n")
    (tmp_path / "torn" / "records" / "fake.act").mkdir(parents=True)
    (tmp_path / "torn" / "records" / "fake.act" / "plain.json").write_text('{"schema": 1')
    arguments, message = BAD[case]
    done = cli(*(a.format(tmp=tmp_path) for a in arguments), cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_what_the_caller_made_is_shown_and_not_the_committed_record(fake_paper, results):
    run = ["run", "fake.act/plain", "--tier", "cpu", "--seed", 0, "--out"]
    committed = results.with_name("reports")
    assert cli(*run, committed).returncode == 0
    (path,) = committed.glob("records/*/*.json")
    tree = json.loads(path.read_text())
    tree["metrics"]["max_error"]["value"] = 1e6
    del tree["sha256"]
    path.write_text(json.dumps(tree))
    done = cli("claims", "--json", cwd=results.parent)
    verdicts = {v["id"]: v for v in json.loads(done.stdout)}
    assert verdicts["fake.double"]["measured"] == pytest.approx(2.0)
    assert "1 run is shown from results and not from reports" in done.stderr
    assert "max_error is" in done.stderr
    assert "in reports 1000000" in done.stderr
    built = cli("report", "--out", "page", cwd=results.parent)
    assert built.returncode == 0, built.stderr
    assert "Runs recorded twice" in (results.parent / "page" / "index.html").read_text()


def test_a_damaged_data_file_stops_the_runs_that_read_it_and_no_other(fake_paper, folders, tmp_path):
    local, _ = folders
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        place = local / "mnist" / f"{name}-ubyte.gz"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"damaged")
    out = tmp_path / "out"
    done = cli("run", "lecture.mnist/mnist", "fake.act/plain", "--tier", "smoke", "--seeds", 1, "--out", out)
    assert done.returncode == 3
    assert "is damaged or incomplete" in done.stderr
    assert "Traceback" not in done.stderr
    ends = {r.identity.experiment: r for r in read_all([out])}
    assert ends["fake.act"].status == "done"
    assert ends["lecture.mnist"].status == "error"
    assert "is damaged or incomplete" in ends["lecture.mnist"].message


def test_one_set_that_can_not_be_fetched_stops_no_other(folders, tmp_path):
    done = cli("data", "fetch", "miniboone_heldout", "digits")  # the first has no address
    assert done.returncode == 2
    assert "digits: bundled" in done.stdout
    assert "cnf-bench: miniboone/val.npy could not be downloaded" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["claims", "x" * 300],
        ["report", "x" * 300],
        ["show", "x" * 300],
        ["doctor", "y/" * 3000],
        ["run", "fake.act/plain", "--out", "y/" * 2000],
        ["run", "fake.act/plain", "--seed", "-1"],
        ["run", "fake.act/plain", "--seed", "9" * 30],
        ["run", "fake.act/plain", "--seeds", "9" * 30],
        ["run", "fake.act/plain", "--memory", "inf"],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_what_the_system_or_a_record_can_not_take_is_one_line(
    fake_paper, tmp_path, monkeypatch, capsys, words
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cnf-bench", *words])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith(("cnf-bench: ", "Usage:"))
    assert "Traceback" not in said
    assert list(tmp_path.rglob("*.json")) == []
