"""Processes: whatever ends a call, a run or what it started, nothing is left running and nobody waits for ever."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.record import read
from faults.box import Box, attack, records, statuses, wait_for
from faults.box import processes as of_box

KIND = "processes"

RUNS = """
import ctypes, os, signal, subprocess, sys, time

def act(run, config):
    {body}
    run.metric("max_error", 1.0, "max-error/test")
"""


def paper(box: Box, body: str) -> dict[str, str]:
    """Return the environment in which fake.act does something else."""
    place = box.paper(f"paper{box.tally.tried}")
    lines = "\n    ".join(body.strip().splitlines())
    (place / "fake_paper/runs.py").write_text(RUNS.format(body=lines))
    return box.with_paper(place)


def child_of(box: Box, parent: int) -> list[int]:
    """Return the workers of a call."""
    found = []
    for pid in of_box(box.folder):
        try:
            if int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]) == parent:
                found.append(pid)
        except (OSError, IndexError):
            continue
    return found


RUN = ("run", "fake.act/plain", "--seed", "0", "--out", "out")
READY = "(run.folder / 'ready').touch()\n"
HOLDS = READY + "ctypes.PyDLL(None).sleep(300)"
SLEEPS = READY + "time.sleep(300)"
STARTS = "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n" + SLEEPS
DETACHES = (
    "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], start_new_session=True)\n"
)


def begun(box: Box, body: str, *more: str) -> subprocess.Popen[bytes]:
    """Return a call whose run has begun."""
    process = box.start(*RUN, *more, env=paper(box, body))
    box.check(wait_for((box.folder / "out/ready").exists), "the run did not begin")
    return process


@attack(KIND)
def killed_while_a_child_holds_the_interpreter(box: Box) -> None:
    """SIGKILL a call whose run holds the lock of the interpreter, as a long call into C does."""
    process = begun(box, HOLDS)
    process.kill()
    box.finish(process)
    box.check(wait_for(lambda: not of_box(box.folder), 10), "the run lives on", "orphans")
    box.call(*RUN, code=0)


@attack(KIND)
def killed_while_a_child_is_stopped(box: Box) -> None:
    """SIGKILL a call whose run is stopped."""
    process = begun(box, SLEEPS)
    for pid in child_of(box, process.pid):
        os.kill(pid, signal.SIGSTOP)
    process.kill()
    box.finish(process)
    box.check(wait_for(lambda: not of_box(box.folder), 10), "the run lives on", "orphans")
    box.call(*RUN, code=0)


@attack(KIND)
def killed_with_grandchildren(box: Box) -> None:
    """SIGKILL a call whose run has started others: the next call ends them before it times anything."""
    for body in (STARTS, DETACHES + SLEEPS):
        (box.folder / "out/ready").unlink(missing_ok=True)
        process = begun(box, body, "--force")
        process.kill()
        box.finish(process)
        box.call(*RUN, "--force", code=0)
        box.check(not of_box(box.folder), "a grandchild lives beside the next call", "orphans")


@attack(KIND)
def a_run_leaves_grandchildren(box: Box) -> None:
    """Run what starts processes and does not wait for them, some in a session of their own."""
    for body in (STARTS.replace(SLEEPS, ""), DETACHES):
        box.call(*RUN, "--force", code=0, env=paper(box, body))
        box.check(wait_for(lambda: not of_box(box.folder), 3), "a grandchild lives on", "orphans")


@attack(KIND)
def terminated(box: Box) -> None:
    """SIGTERM, SIGINT and SIGHUP a call: its runs end, each with a record, and the code is the signal's."""
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)):
        (box.folder / "out/ready").unlink(missing_ok=True)
        process = begun(box, STARTS)
        process.send_signal(number)
        box.judge(box.finish(process, 20), code, "interrupted", number.name)
        box.check(statuses(box.folder / "out") == ["interrupted"], f"{number.name}: no record of it", "lost")
        box.check(not of_box(box.folder), f"{number.name}: something lives on", "orphans")
        for path in records(box.folder / "out"):
            path.unlink()


@attack(KIND)
def terminated_while_it_starts(box: Box) -> None:
    """SIGTERM a call at ten moments of its start."""
    for tenths in range(1, 11):
        process = box.start(*RUN, "--force")
        time.sleep(tenths * 0.1)
        process.terminate()
        ended = box.finish(process, 20)
        box.check(ended.code in (0, 143, -signal.SIGTERM), f"after {tenths / 10} s: code {ended.code}")
        box.check("Traceback" not in ended.err, f"after {tenths / 10} s: {ended.err[-200:]}", "unclear")
        box.check(wait_for(lambda: not of_box(box.folder), 5), "something lives on", "orphans")
    box.call(*RUN, "--force", code=0)


@attack(KIND)
def interrupted_again_and_again(box: Box) -> None:
    """Send SIGINT five times in a row to a call."""
    process = begun(box, SLEEPS)
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    ended = box.finish(process, 20)
    box.check(ended.code in (130, -signal.SIGINT), f"code {ended.code}")
    box.check("Traceback" not in ended.err, ended.err[-300:], "unclear")
    box.call(*RUN, code=0)


@attack(KIND)
def a_child_is_killed(box: Box) -> None:
    """SIGKILL, SIGSEGV, SIGTERM and SIGABRT a run: the call goes on with a record of it."""
    for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT):
        (box.folder / "out/ready").unlink(missing_ok=True)
        process = begun(box, SLEEPS)
        for pid in child_of(box, process.pid):
            os.kill(pid, number)
        box.judge(box.finish(process, 30), 3, (), f"run killed by {number.name}")
        box.check(statuses(box.folder / "out")[0] in ("oom", "error"), f"{number.name}: no record", "lost")


@attack(KIND)
def a_child_is_stopped(box: Box) -> None:
    """SIGSTOP a run: it ends at its time limit."""
    process = begun(box, SLEEPS, "--timeout", "3")
    for pid in child_of(box, process.pid):
        os.kill(pid, signal.SIGSTOP)
    box.judge(box.finish(process, 40), 3, "time limit", "stopped run")
    box.check(statuses(box.folder / "out") == ["timeout"], "no record of it", "lost")


@attack(KIND)
def the_parent_is_stopped(box: Box) -> None:
    """SIGSTOP a call for a while: it goes on as if nothing had been."""
    process = box.start(*RUN)
    for _ in range(3):
        time.sleep(0.5)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        process.send_signal(signal.SIGCONT)
    box.judge(box.finish(process), 0, (), "stopped call")
    box.check(statuses(box.folder / "out") == ["done"], "no record", "lost")


@attack(KIND)
def runs_that_do_not_listen(box: Box) -> None:
    """Run what ignores signals, closes all its files, never ends, or ends without a word, with a time limit."""
    for body, *wanted in (
        ("[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]\ntime.sleep(300)", "timeout"),
        ("os.closerange(0, 256)\ntime.sleep(300)", "timeout", "error"),
        ("os.closerange(0, 256)", "error"),
        ("os._exit(0)", "error"),
        ("os.kill(os.getpid(), 11)", "error"),
        ("while True: pass", "timeout"),
        ("os.kill(os.getppid(), 19)\ntime.sleep(1)\nos.kill(os.getppid(), 18)", "done", "error"),
        ("raise SystemExit(0)", "error"),
        ("raise KeyboardInterrupt", "interrupted"),
        ("def f(): f()\nf()", "error"),
        ("x = bytearray(2**45)", "oom"),
        ("raise BaseExceptionGroup('g', [GeneratorExit()])", "error"),
    ):
        box.call(*RUN, "--force", "--timeout", "4", code=(0, 3), limit=60, env=paper(box, body))
        found = statuses(box.folder / "out")
        box.check(len(found) == 1 and found[0] in wanted, f"{body!r}: {found}, not {wanted}")
        for path in records(box.folder / "out"):
            path.unlink()


@attack(KIND)
def memory_without_end(box: Box) -> None:
    """Run what takes memory without end under --memory."""
    box.call("run", "fake.act/eats", "--seed", "0", "--memory", "1", "--out", "out", code=3)
    box.check(statuses(box.folder / "out") == ["oom"], "no record of it")


@attack(KIND)
def logs_without_end(box: Box) -> None:
    """Run what prints a gigabyte, lines without end, control sequences and no text at all: first and last part stay."""
    for body in (
        "print('first')\nfor _ in range(2**14): os.write(2, b'x' * 65536)\nprint('last', flush=True)",
        "os.write(1, b'first' + b'\\0' * 10**7 + b'last')", "os.write(2, b'first\\x1b[2J\\xff\\xfelast')",
        "print('first')\nimport warnings\n[warnings.warn(str(i)) for i in range(10**4)]\nprint('last')",
    ):  # fmt: skip
        box.call(*RUN, "--force", code=0, env=paper(box, body))
        (log,) = (box.folder / "out/logs").rglob("*.log")
        text = log.read_bytes()
        box.check(len(text) < 10**6, f"the log has {len(text)} bytes")
        box.check(b"first" in text and b"last" in text, "the first or the last words are lost", "lost")


@attack(KIND)
def messages_without_end(box: Box) -> None:
    """Run what ends with a message of megabytes, of many lines, of control sequences."""
    for body in (
        "raise ValueError('x' * 10**7)", "raise ValueError('a\\nb\\r\\x1b[31mc\\u202e')", "raise ValueError()",
        "raise ValueError('\\ud800')", "run.progress(1, 2, '\\x1b[2J' * 999)", "run.note('\\x1b[2J')",
    ):  # fmt: skip
        ended = box.call(*RUN, "--force", code=(0, 3), env=paper(box, body))
        box.check(len(ended.err) < 10**5, "the terminal is flooded", "unclear")
        box.check(len(statuses(box.folder / "out")) == 1, f"{body}: no record", "lost")
        box.call("claims", "out", code=0)


@attack(KIND)
def two_calls_on_one_folder(box: Box) -> None:
    """Start two calls, then eight, into one folder at once: one works, the others say so, nothing is lost."""
    for parents in (2, 8):
        out = f"out{parents}"
        calls = [box.start("run", "fake.act/plain", "--seeds", "1", "--out", out) for _ in range(parents)]
        ended = [box.finish(process) for process in calls]
        box.check(any(e.code == 0 for e in ended), f"no call of {parents} worked")
        for each in ended:
            box.check(each.code == 0 or "in use" in each.err, f"{each.code}: {each.err[-200:]}", "unclear")
        box.check(statuses(box.folder / out) == ["done"], "no record", "lost")


@attack(KIND)
def doctor_beside_a_run(box: Box) -> None:
    """Have doctor --fix and migrate work on a folder into which a call runs."""
    process = begun(box, SLEEPS)
    box.mine("out/records/fake.act/notes.txt")
    box.call("doctor", "out", "--fix", code=2, says="in use")
    box.call("migrate", "out", code=(0, 2))
    process.terminate()
    box.finish(process, 20)


@attack(KIND)
def closed_streams(box: Box) -> None:
    """List, run and report with standard streams that are closed, full or a pipe that nobody reads."""
    folder = box.results()
    for verb in (("list",), ("claims", folder), ("run", "fake.act/plain", "--seed", "0", "--out", "out")):
        with open("/dev/full", "w") as full:
            process = box.start(*verb, stdout=full, stderr=full)
            box.finish(process)
        process = box.start(*verb)
        process.stdout.close()
        process.wait(120)
        text = process.stderr.read().decode()
        process.stderr.close()
        box.check("Traceback" not in text, f"{verb}: pipe closed: {text[-200:]}", "unclear")
        for closing in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            process = box.start(*verb, before=["sh", "-c", f'exec "$@" {closing}', "sh"])
            ended = box.finish(process)
            box.check("Traceback" not in ended.err, f"{verb} {closing}: {ended.err[-300:]}", "unclear")
    box.check(statuses(box.folder / "out") == ["done"], "closed streams cost the record", "lost")


def limited(*limits: tuple[int, int]) -> Callable[[], None]:
    """Return what sets limits of a process before it starts."""

    def before() -> None:
        for what, most in limits:
            resource.setrlimit(what, (most, most))

    return before


@attack(KIND)
def few_open_files(box: Box) -> None:
    """Run and report with 16, 24 and 40 open files allowed."""
    folder = box.results()
    for most in (16, 24, 40):
        few = limited((resource.RLIMIT_NOFILE, most))
        for verb in (
            ("claims", folder),
            ("run", "fake.act/plain", "--seed", str(most), "--jobs", "8", "--out", "out"),
        ):
            box.call(*verb, code=(0, 2, 3), preexec_fn=few)


@attack(KIND)
def a_sigterm_that_is_ignored_from_outside(box: Box) -> None:
    """Run under nohup and with SIGTERM ignored, as some schedulers start their jobs, and send SIGHUP."""
    process = box.start(*RUN, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    time.sleep(1.0)
    process.send_signal(signal.SIGHUP)
    box.judge(box.finish(process), 0, (), "nohup")
    box.check(statuses(box.folder / "out") == ["done"], "no record", "lost")


@attack(KIND)
def a_converter_that_is_killed(box: Box) -> None:
    """SIGKILL a process that has files of others converted: what reads them ends too."""
    place = box.folder / "x.pickle"
    os.mkfifo(place)
    script = "from pathlib import Path\nfrom bench.data.convert import frame\nframe(Path('x.pickle'))"
    process = subprocess.Popen([sys.executable, "-c", script], env=box.environment, cwd=box.folder)
    wait_for(lambda: len(of_box(box.folder)) > 1, 30)
    process.kill()
    process.wait()
    box.tally.tried += 1
    box.check(wait_for(lambda: not of_box(box.folder), 5), "the converter lives on", "orphans")


@attack(KIND)
def time_limits_that_are_met(box: Box) -> None:
    """Run with time limits of a tenth of a second and of none, two at a time."""
    start = time.monotonic()
    box.call(
        "run", "fake.act/sleeps", "--seeds", "2", "--jobs", "2", "--timeout", "0.1", "--out", "out", code=3
    )
    box.check(time.monotonic() - start < 60, "it took long", "stuck")
    box.check(statuses(box.folder / "out") == ["timeout"] * 2, "no record", "lost")
    box.check(all(read(p).duration_s < 60 for p in records(box.folder / "out")), "a wrong duration")
