"""The session of faults counts what goes wrong: faults that are planted here are each counted as what they are."""

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from faults import box as boxes
from faults import run
from faults.box import ATTACKS, Box, Listed, Tally, Untried
from faults.run import Played, play, table

from bench.errors import UserError
from bench.report import manifest

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs the table of processes of Linux")


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path, tmp_path / "good")


def played(box: Box, monkeypatch, program: str, **judged) -> Tally:
    """Play a call of another program than the command."""
    place = box.folder / "python"
    place.write_text(f"#!{sys.executable}\n{program}\n")
    place.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(place))
    box.call("x", **judged)
    return box.close()


@pytest.mark.parametrize(
    ("program", "judged", "fault"),
    [
        ("pass", {"code": 2}, "silent"),
        ("raise SystemExit(3)", {"code": 0}, "wrong"),
        ("raise ValueError", {"code": 1}, "unclear"),
        ("print('\\x1b[2J')", {"code": 0}, "unclear"),
        ("raise SystemExit(2)", {"code": 2}, "unclear"),
        ("print('a word')", {"code": 0, "says": "another"}, "unclear"),
        ("import time; time.sleep(60)", {"code": 0, "limit": 0.5}, "stuck"),
    ],
)
def test_a_call_that_ends_wrong_is_counted_as_what_it_is(box, monkeypatch, program, judged, fault) -> None:
    tally = played(box, monkeypatch, program, **judged)
    assert tally.tried == 1
    assert (getattr(tally, fault), tally.failed) == (1, 1)


def test_a_call_that_ends_right_is_no_fault(box, monkeypatch) -> None:
    program = "import sys; sys.stderr.write('cnf-bench: no such\\n  thing'); sys.exit(2)"
    assert played(box, monkeypatch, program, code=2, says="such thing").failed == 0


@LINUX
def test_a_process_that_is_left_is_an_orphan_and_is_ended(box, monkeypatch) -> None:
    monkeypatch.setattr(boxes, "GRACE", 0.2)
    program = "import subprocess as s; s.Popen(['sleep', '60'], stdout=s.DEVNULL, stderr=s.DEVNULL)"
    assert played(box, monkeypatch, program, code=0).orphans == 1
    assert boxes.wait_for(lambda: not boxes.processes(box.folder), 5)


def change(path: Path) -> None:
    path.write_bytes(b"other")


def replace_by_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("harm", [Path.unlink, change, replace_by_a_link])
def test_a_file_of_the_user_that_is_not_as_it_was_is_lost(box, harm) -> None:
    harm(box.mine("a/mine"))
    box.mine("b")
    assert box.close().lost == 1


def test_a_link_of_the_user_that_points_elsewhere_is_lost(box) -> None:
    path = box.link("a/link", "nowhere")
    path.unlink()
    path.symlink_to("somewhere")
    assert box.close().lost == 1


def test_a_settled_record_that_is_gone_is_lost(box) -> None:
    place = box.good / "records/fake.act/x.json"
    place.parent.mkdir(parents=True)
    place.write_text("a record")
    (box.results() / "records/fake.act/x.json").unlink()
    (box.results("moved") / "records/fake.act/x.json").rename(
        box.folder / "moved/records/fake.act/x.json.loser"
    )
    assert box.close().lost == 1


def refuse() -> None:
    raise UserError("line one\nline two")


@pytest.mark.parametrize(
    ("call", "fault"), [(lambda: 3, "silent"), (lambda: 1 / 0, "unclear"), (refuse, "unclear")]
)
def test_a_library_that_does_not_refuse_is_counted(box, call, fault) -> None:
    box.refused(call)
    assert (getattr(box.tally, fault), box.tally.failed) == (1, 1)


def ends(box: Box) -> None:
    """End the process of the attack."""
    os.kill(os.getpid(), signal.SIGKILL)


def breaks(box: Box) -> None:
    """Break."""
    raise KeyError


def holds(box: Box) -> None:
    """Hold"""
    box.tally.tried += 1


def absent(box: Box) -> None:
    """Play nothing"""
    raise Untried("no such system")


@pytest.mark.parametrize(("attack", "faults"), [(ends, 1), (breaks, 1), (holds, 0), (absent, 0)])
def test_an_attack_that_breaks_is_a_fault_and_never_the_end_of_the_session(tmp_path, attack, faults) -> None:
    found = play(Listed("k", attack), tmp_path / "good", tmp_path)
    assert found.tally.failed == faults
    assert found.untried == ("no such system" if attack is absent else "")


def test_every_attack_is_listed_once_and_says_what_it_does() -> None:
    names = [each.play.__name__ for each in ATTACKS]
    assert len(names) == len(set(names)) >= 80
    assert all(each.play.__doc__ and "|" not in each.what for each in ATTACKS)


def test_the_table_adds_up_and_is_no_file_that_a_report_removes_or_refuses(tmp_path) -> None:
    bad = Tally(tried=2, lost=1, notes=["lost: it is gone"])
    text = table(
        [Played("k", "one", Tally(tried=3)), Played("k", "two", bad)], datetime.now(UTC), "nox -s faults"
    )
    assert "|  | all 2 | 5 | 1 | 0 | 0 | 0 | 0 | 0 |" in text
    assert "- two: lost: it is gone" in text
    (tmp_path / "faults.md").write_text(text)
    for content in ({"index.html": b"1"}, {"index.html": b"2"}):
        manifest.publish(tmp_path, content)
    assert (tmp_path / "faults.md").read_text() == text


def test_a_session_that_was_ended_goes_on_and_shows_all(tmp_path, monkeypatch) -> None:
    taken: list[str] = []

    def play_some(chosen, told) -> None:
        for each in chosen:
            taken.append(each.play.__name__)
            told(each.play.__name__, Played(each.kind, each.what, Tally(tried=2)))
            if len(taken) == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(run, "ATTACKS", [Listed("k", holds), Listed("k", absent)])
    monkeypatch.setattr(run, "play_all", play_some)
    words = ["--rounds", "0", "--kept", str(tmp_path / "kept"), "--out", str(tmp_path / "faults.md")]
    with pytest.raises(KeyboardInterrupt):
        run.main(words)
    assert run.main(words) == 0
    assert taken == ["holds", "absent"]
    assert "|  | all 2 | 4 | 0 | 0 | 0 | 0 | 0 | 0 |" in (tmp_path / "faults.md").read_text()
