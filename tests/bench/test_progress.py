"""The time left, by a clock that the test moves."""

import io

import pytest
from rich.console import Console

from bench.execution import progress
from bench.execution.plan import plan
from bench.execution.progress import Display


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_is_that_of_the_same_variant_before_or_of_the_mean(fake_paper, clock, capsys) -> None:
    jobs = plan(["fake.act/plain", "fake.act/double", "fake.act/breaks"], "cpu", [0, 1])
    display = Display(jobs, kept=2, workers=2)
    assert display.seconds_left() == pytest.approx(6 * 20 / 2)  # nothing known yet
    by_name = {(job.identity.variant, job.identity.seed): job for job in jobs}

    def go(variant: str, seed: int, begin: float, end: float | None = None) -> None:
        clock[0] = begin
        display(by_name[variant, seed], {"event": "start"})
        if end is not None:
            clock[0] = end
            display(by_name[variant, seed], {"event": "end", "status": "done", "message": None})

    go("plain", 0, 0.0, 10.0)
    go("double", 0, 10.0, 40.0)
    # plain 10 s, double 30 s; `breaks` is not known: the mean of both.
    assert display.seconds_left() == pytest.approx((10 + 30 + 20 + 20) / 2)
    go("double", 1, 40.0)
    clock[0] = 52.0
    assert display.seconds_left() == pytest.approx((10 + (30 - 12) + 20 + 20) / 2)
    clock[0] = 500.0  # longer than expected: nothing left of it, never less
    assert display.seconds_left() == pytest.approx((10 + 0 + 20 + 20) / 2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[:4] for line in lines if line.startswith("[")] == [
        ["[1/6]", "done", "10.0", "s"],
        ["[2/6]", "done", "30.0", "s"],
    ]


def test_seconds_below_a_minute_and_a_half_and_minutes_above() -> None:
    assert [progress._duration(s) for s in (0.4, 89.4, 90.0, 600.0)] == ["0 s", "89 s", "2 min", "10 min"]


def test_what_is_shown_says_how_many_and_what_failed(fake_paper, clock, capsys) -> None:
    jobs = plan(["fake.act/plain"], "cpu", [0])
    with Display(jobs, kept=3) as display:
        display(jobs[0], {"event": "start"})
        display(jobs[0], {"event": "progress", "done": 3, "total": 9, "note": "loss 1"})
        clock[0] = 4.0
        display(jobs[0], {"event": "end", "status": "error", "message": "planted"})
    shown = capsys.readouterr().err
    assert "1 runs to do, 3 already recorded" in shown
    assert "[1/1] error" in shown
    assert "4.0 s  fake.act/plain cpu seed 0: planted" in shown
    assert display.waiting == []
    assert display.seconds_left() == 0


def test_on_a_terminal_bars_go_on_until_the_end_and_leave_lines_alone(fake_paper, clock, monkeypatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(progress, "Console", lambda stderr: terminal)
    jobs = plan(["fake.act/plain", "fake.act/double"], "cpu", [0])
    with Display(jobs, kept=0) as display:
        assert display.bars.live.is_started
        assert "2 runs to do\n" in screen.getvalue()
        display(jobs[0], {"event": "start"})
        display(jobs[0], {"event": "progress", "done": 3, "total": 9, "note": "loss 1"})
        mine, every = (task for task in reversed(display.bars.tasks))
        assert (mine.description, mine.completed, mine.total) == ("fake.act/plain cpu seed 0", 3, 9)
        assert mine.fields["note"] == "3/9 loss 1"
        assert (every.completed, every.total, every.fields["note"]) == (0, 2, "0/2  about 40 s left")
        display.bars.refresh()
        shown = screen.getvalue()
        assert "all runs" in shown
        assert "3/9 loss 1" in shown
        clock[0] = 4.0
        display(jobs[0], {"event": "end", "status": "done", "message": None})
        assert [task.fields["note"] for task in display.bars.tasks] == ["1/2  about 4 s left"]
        assert "[1/2] done           4.0 s  fake.act/plain cpu seed 0\n" in screen.getvalue()
    assert not display.bars.live.is_started
    assert screen.getvalue().rstrip().endswith("\x1b[2K")  # the bars are wiped


def test_elsewhere_there_are_no_bars(fake_paper, clock, capsys) -> None:
    jobs = plan(["fake.act/plain"], "cpu", [0])
    with Display(jobs, kept=0) as display:
        assert not display.bars.live.is_started
        display(jobs[0], {"event": "start"})
    assert capsys.readouterr().err.rstrip("\n") == "1 runs to do"  # older rich ends with an empty line
