"""Whether a run was alone: planted processor times, no real load."""

from __future__ import annotations

import os

import pytest

from bench.measure import load as module
from bench.measure.load import FOREIGN_SHARE, UNFINISHED, Load, busy_time, own_time

TICKS = os.sysconf("SC_CLK_TCK")
SESSION = os.getsid(0)


def plant(proc, user=0.0, nice=0.0, steal=0.0, mine=0.0, children=0.0, other=0.0):
    """Write a machine's processor times, those of this session and of another, in seconds."""
    ticks = [round(x * TICKS) for x in (user, nice, 50.0, 900.0, 3.0, 0.0, 0.0, steal)]
    proc.mkdir(exist_ok=True)
    (proc / "stat").write_text("cpu  " + " ".join(map(str, ticks)) + " 0 0\ncpu0 1 2 3\n")
    for pid, session, own, waited in ((10, SESSION, mine, children), (20, SESSION + 1, other, 0.0)):
        (proc / str(pid)).mkdir(exist_ok=True)
        fields = [
            "S",
            "1",
            "1",
            str(session),
            *["0"] * 7,
            str(round(own * TICKS)),
            "7",
            str(round(waited * TICKS)),
            "9",
        ]
        (proc / str(pid) / "stat").write_text(f"{pid} (a name) S 1) " + " ".join(fields) + "\n")


@pytest.fixture
def watch(tmp_path, monkeypatch):
    """Return a function that runs ten planted seconds, with so much time of each kind, and gives what was seen."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.os, "getloadavg", lambda: (0.5, 0.0, 0.0))

    def run(jobs=1, overlaps=False, session=None, **spent):
        proc = tmp_path / "proc"
        plant(proc, user=1000.0, mine=5.0, children=2.0, other=70.0)
        load = Load(jobs, overlaps, proc, session)
        now[0] += 10.0
        spent = {"user": 0.0, "mine": 0.0, "children": 0.0, "other": 0.0} | spent
        before = {"user": 1000.0, "mine": 5.0, "children": 2.0, "other": 70.0}
        plant(proc, **{key: before.get(key, 0.0) + value for key, value in spent.items()})
        return load.end()

    return run


def test_the_users_time_of_the_run_itself_and_its_children_is_not_foreign(watch):
    seen = watch(user=19.5, mine=9.0, children=10.5)
    assert (seen["foreign_cores"], seen["shared"]) == (0.0, None)


def test_the_time_of_another_session_is_foreign(watch):
    assert watch(user=8.0, mine=3.0, other=5.0)["foreign_cores"] == pytest.approx(0.5)


def test_a_parent_watches_beside_the_session_of_its_run(watch):
    assert watch(session=SESSION + 1, user=8.0, mine=3.0, other=5.0)["foreign_cores"] == pytest.approx(0.3)


@pytest.mark.parametrize("kind", ["user", "nice", "steal"])
def test_others_time_is_counted_whatever_its_kind(watch, kind):
    seen = watch(**{"user": 9.0, "mine": 9.0} | {kind: 4.0 + (9.0 if kind == "user" else 0.0)})
    assert seen["foreign_cores"] == pytest.approx(0.4)
    assert seen["shared"] == "other processes used 0.40 cores"


def test_the_stated_share_divides_alone_from_shared(watch):
    below = watch(user=10 * FOREIGN_SHARE - 0.02)
    at = watch(user=10 * FOREIGN_SHARE)
    above = watch(user=10 * FOREIGN_SHARE + 0.02)
    assert below["shared"] is at["shared"] is None
    assert above["shared"] is not None


def test_runs_at_the_same_time_share_the_machine(watch):
    assert watch(jobs=2)["shared"] == "2 runs at the same time"
    assert watch(jobs=3, overlaps=True)["shared"] == "3 runs at the same time, on the same processors"


def test_where_the_system_tells_no_times_the_load_at_the_start_does(tmp_path, monkeypatch):
    for average, shared in ((0.9, None), (1.6, "load average 1.6 at the start")):
        monkeypatch.setattr(module.os, "getloadavg", lambda average=average: (average, 0.0, 0.0))
        seen = Load(1, proc=tmp_path / "absent").end()
        assert (seen["foreign_cores"], seen["shared"], seen["load_before"]) == (None, shared, average)


def test_a_load_at_the_start_of_one_is_the_runs_own(tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "getloadavg", lambda: (1.0, 0.0, 0.0))
    assert Load(1, proc=tmp_path / "absent").end()["shared"] is None


def test_load_is_told_to_a_hundredth_and_ticks_are_a_hundredth_where_none_are_told(monkeypatch):
    monkeypatch.setattr(module.os, "getloadavg", lambda: (1.2345, 0.0, 0.0))
    assert module.load_average() == 1.23
    monkeypatch.delattr(module.os, "sysconf")
    assert module._ticks() == 100


def test_a_run_that_was_ended_does_not_count_as_alone(tmp_path):
    assert Load(1, proc=tmp_path / "absent").begun()["shared"] == UNFINISHED


def test_damaged_tables_of_the_system_are_no_error(tmp_path):
    assert (busy_time(tmp_path), own_time(tmp_path)) == (None, None)
    (tmp_path / "stat").write_text("cpu 1 2\n")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text("7 (x")
    assert (busy_time(tmp_path), own_time(tmp_path)) == (None, None)


@pytest.mark.skipif(busy_time() is None, reason="this system tells no processor times")
def test_this_systems_times_only_grow_and_hold_ones_own():
    first, own = busy_time(), own_time()
    sum(i * i for i in range(2_000_000))
    assert busy_time() >= first
    assert own_time() >= own
