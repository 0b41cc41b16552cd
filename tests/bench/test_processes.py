"""No process outlives its call: parents killed at the worst moments, children that can not listen, grandchildren."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from bench.execution.executor import Limits, execute, locked
from bench.execution.plan import plan
from bench.execution.processes import (
    MARK,
    Terminated,
    end_leftovers,
    mark,
    python,
    terminable,
    undisturbed,
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs signals and tables of Linux")
PATIENCE = 300.0


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def of_folder(folder):
    """Return the processes that belong to runs into a folder."""
    wanted = f"{MARK}={folder.resolve()}".encode()
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as stream:
                if wanted in stream.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            continue
    return found


def start(variant, folder, seed=0):
    command = ["-m", "bench", "run", f"fake.act/{variant}", "--tier", "smoke", "--seed", str(seed)]
    return subprocess.Popen([sys.executable, *command, "--out", str(folder)], stderr=subprocess.DEVNULL)


@LINUX
@pytest.mark.parametrize("state", ["holds the interpreter's lock", "is stopped"])
def test_a_child_that_can_not_listen_ends_with_a_killed_parent(fake_paper, tmp_path, state):
    parent = start("holds", tmp_path)
    wait_for((tmp_path / "held").is_file)
    (child,) = of_folder(tmp_path)
    if state == "is stopped":
        os.kill(child, signal.SIGSTOP)
    parent.kill()
    parent.wait(PATIENCE)
    wait_for(lambda: not of_folder(tmp_path))


@LINUX
def test_what_a_run_started_ends_with_it(fake_paper, tmp_path):
    counts = execute(plan(["fake.act/starts"], "smoke", [0]), tmp_path, Limits(), lambda job, event: None)
    assert counts == {"done": 1}
    assert (tmp_path / "grandchild").is_file()
    wait_for(lambda: not of_folder(tmp_path))


@LINUX
def test_the_next_call_ends_what_a_killed_one_left(fake_paper, tmp_path):
    parent = start("starts", tmp_path, seed=1)
    wait_for((tmp_path / "grandchild").is_file)
    wait_for(lambda: len(of_folder(tmp_path)) == 2)
    parent.kill()
    parent.wait(PATIENCE)
    grandchild = int((tmp_path / "grandchild").read_text())
    wait_for(lambda: of_folder(tmp_path) == [grandchild])  # the child has gone with its parent
    with locked(tmp_path):
        wait_for(lambda: not of_folder(tmp_path))


@LINUX
def test_processes_of_another_folder_and_of_none_are_left_alone(tmp_path):
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    mine, other = tmp_path / "mine", tmp_path / "mine2"
    environments = [os.environ | mark(mine), os.environ | mark(other), os.environ | {"X": str(mine)}]
    started = [subprocess.Popen(sleep, env=dict(e)) for e in environments]
    try:
        wait_for(lambda: of_folder(mine) == [started[0].pid] and of_folder(other) == [started[1].pid])
        assert end_leftovers(mine) == [started[0].pid]
        assert started[0].wait(PATIENCE) == -signal.SIGKILL
        assert [p.poll() for p in started[1:]] == [None, None]
        assert end_leftovers(mine) == []
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_system_without_a_table_of_processes_has_no_leftovers(tmp_path):
    assert end_leftovers(tmp_path, proc=tmp_path / "absent") == []


@LINUX
def test_processes_of_another_run_of_the_folder_are_left_alone(tmp_path):
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    started = [subprocess.Popen(sleep, env=os.environ | mark(tmp_path, run)) for run in ("a", "ab")]
    try:
        wait_for(lambda: len(of_folder(tmp_path)) == 2)
        assert end_leftovers(tmp_path, "a") == [started[0].pid]
        assert started[1].poll() is None
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_child_finds_modules_in_the_present_folder_only_where_this_process_does(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for first, flags in (("", []), (str(tmp_path), []), (str(tmp_path / "bin"), ["-P"])):
        monkeypatch.setattr(sys, "path", [first])
        assert python() == [sys.executable, *flags]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_an_exception_inside_and_what_it_was_outside(number):
    before = signal.signal(number, signal.SIG_DFL)
    try:

        def ended():
            with terminable():
                os.kill(os.getpid(), number)
                time.sleep(60)

        with pytest.raises(Terminated) as end:
            ended()
        assert end.value.number == number
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminable():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nothing_interrupts_what_puts_things_in_order():
    before = signal.getsignal(signal.SIGINT)
    with undisturbed():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
    assert signal.getsignal(signal.SIGINT) == before


def test_a_limit_that_the_system_has_set_lower_is_kept(tmp_path):
    """As where a cluster limits the memory of a job: a limit of ours above it would be refused by the system."""
    program = (
        "import resource as r; from bench.execution.processes import at_most; r.setrlimit(r.RLIMIT_FSIZE, (9, 9));"
        "at_most(r.RLIMIT_FSIZE, 99); print(r.getrlimit(r.RLIMIT_FSIZE)); at_most(r.RLIMIT_FSIZE, 5);"
        "print(r.getrlimit(r.RLIMIT_FSIZE))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "(9, 9)\n(5, 5)\n"
