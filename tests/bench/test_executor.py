"""Isolation, typed ends, resume, and what survives a kill."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import files
from bench import record as records
from bench.errors import UserError
from bench.execution.cores import cores
from bench.execution.executor import RESERVED, Limits, execute, locked
from bench.execution.plan import missing, plan
from bench.execution.run import Run
from bench.identity import identify
from bench.measure.load import UNFINISHED, busy_time
from bench.registry import registry

ROOT = Path(__file__).parents[2]


def run(patterns, folder, seeds=(0,), limits=None, tier="smoke"):
    events = []
    jobs = plan(patterns, tier, seeds)
    counts = execute(jobs, folder, limits or Limits(), lambda job, event: events.append((job, event)))
    by_variant = {(r.identity.variant, r.identity.seed): r for r in records.read_all([folder])}
    return by_variant, counts, events


def test_every_end_leaves_a_typed_record_and_the_others_go_on(fake_paper, tmp_path):
    variants = ["diverges", "breaks", "dies", "plain"]
    found, counts, events = run([f"fake.act/{v}" for v in variants], tmp_path, limits=Limits(workers=2))
    assert {v: found[v, 0].status for v in variants} == {
        "diverges": "diverged",
        "breaks": "error",
        "dies": "error",
        "plain": "done",
    }
    assert counts == {"diverged": 1, "error": 2, "done": 1}
    assert (found["diverges", 0].last_t, found["diverges", 0].nfe) == (0.5, 17)
    assert "planted fault" in found["breaks", 0].message
    assert "code 3" in found["dies", 0].message
    assert found["plain", 0].environment["versions"]["torch"]
    assert found["plain", 0].command == "cnf-bench run fake.act/plain --tier smoke --seed 0"
    assert sum(event["event"] == "end" for _, event in events) == 4


def test_records_say_what_of_the_machine_a_run_had(fake_paper, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    found, _, _ = run(["fake.act/plain", "fake.act/breaks"], tmp_path, seeds=(0, 1), limits=Limits(workers=2))
    allowed = set(cores().allowed)
    for record in found.values():
        e = record.environment
        assert (e["threads"], e["wait_policy"], e["jobs"], e["cores"]) == (1, "passive", 2, len(allowed))
        assert e["shared"].startswith("2 runs at the same time")
        assert {"load_before", "load_after", "foreign_cores", "quota"} <= set(e)
        assert set(e["affinity"]) <= allowed
    if len(allowed) > 1 and hasattr(os, "sched_setaffinity"):
        places = {tuple(record.environment["affinity"]) for record in found.values()}
        assert sum(map(len, places)) == len(set().union(*places))  # no two overlap
        assert len(places) == 2


def test_a_run_alone_has_the_whole_machine_however_many_might_run(fake_paper, tmp_path):
    found, _, _ = run(["fake.act/plain"], tmp_path, limits=Limits(workers=2))
    assert found["plain", 0].environment["jobs"] == 1
    assert len(found["plain", 0].environment["affinity"]) in (0, len(cores().allowed))


@pytest.mark.skipif(busy_time() is None, reason="this system tells no processor times")
def test_the_load_of_a_run_that_is_ended_is_seen_before_it_ends(fake_paper, tmp_path):
    found, _, _ = run(["fake.act/sleeps"], tmp_path, limits=Limits(timeout=0.3))
    seen = found["sleeps", 0].environment
    assert seen["foreign_cores"] >= 0
    assert seen["load_after"] >= 0
    assert seen["shared"] != UNFINISHED


def test_a_run_that_dies_says_that_its_load_was_not_measured(fake_paper, tmp_path):
    found, _, _ = run(["fake.act/dies"], tmp_path)
    assert found["dies", 0].environment["shared"] == UNFINISHED


def test_a_process_that_dies_before_it_is_ready_says_what_was_planned_for_it(
    fake_paper, tmp_path, monkeypatch
):
    class Gone(subprocess.Popen):
        """A process that has ended before its order is written."""

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.wait()

    monkeypatch.setattr(subprocess, "Popen", Gone)
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    found, counts, _ = run(["fake.act/plain"], tmp_path)
    assert counts == {"error": 1}
    seen = found["plain", 0].environment
    assert (seen["threads"], seen["jobs"], seen["shared"]) == (1, 1, UNFINISHED)


@pytest.mark.parametrize(("name", "value"), [("OMP_NUM_THREADS", "many"), ("OMP_WAIT_POLICY", "lazy")])
def test_nonsense_in_the_environment_starts_no_run(fake_paper, tmp_path, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{name} is '{value}'"):
        run(["fake.act/plain"], tmp_path)
    assert not list(tmp_path.glob("records/*/*"))


@pytest.mark.skipif(cores().usable < 2, reason="one processor runs one thread")
@pytest.mark.parametrize(
    ("variable", "option", "declared", "threads"),
    [("", None, 1, 1), ("", None, 8, cores().usable), ("1", None, 8, 1), ("2", None, 1, 2), ("1", 2, 1, 2)],
)
def test_threads_are_the_options_else_the_variables_else_the_experiments(
    fake_paper, tmp_path, monkeypatch, variable, option, declared, threads
):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    jobs = plan(["fake.act/plain"], "smoke", [0])
    object.__setattr__(jobs[0].experiment, "threads", declared)
    try:
        execute(jobs, tmp_path, Limits(threads=option), lambda job, event: None)
    finally:
        object.__setattr__(jobs[0].experiment, "threads", 1)
    (record,) = records.read_all([tmp_path])
    assert record.environment["threads"] == threads


def test_a_run_ends_at_its_time_limit_and_the_next_begins(fake_paper, tmp_path):
    found, counts, _ = run(["fake.act/sleeps"], tmp_path, seeds=(0, 1), limits=Limits(timeout=0.3))
    assert counts == {"timeout": 2}
    assert found["sleeps", 0].message == "ended at its time limit of 0.3 s"
    assert found["sleeps", 1].duration_s >= 0.3


def test_out_of_memory_is_told_from_other_errors(fake_paper, tmp_path):
    found, _, _ = run(["fake.act/eats", "fake.act/plain"], tmp_path, limits=Limits(2, memory=2**31))
    assert found["eats", 0].status == "oom"
    assert found["plain", 0].status == "done"


def test_a_repeat_that_fails_keeps_the_settled_record(fake_paper, tmp_path):
    (job,) = plan(["fake.act/sleeps"], "smoke", [0])
    settled = records.Record(job.identity, "done", metrics={"nfe": records.Measured(7.0, "evaluations", "p")})
    records.write(tmp_path, settled)
    again, counts, _ = run(["fake.act/sleeps"], tmp_path, limits=Limits(timeout=0.3))
    assert counts == {"timeout": 1}
    assert (again["sleeps", 0].status, again["sleeps", 0].value("nfe")) == ("done", 7.0)


def test_seeds_repeat_differ_and_pair_across_processes(fake_paper, tmp_path):
    first, _, _ = run(["fake.act/plain", "fake.act/double"], tmp_path / "a", (0, 1), Limits(workers=2))
    again, _, _ = run(["fake.act/plain"], tmp_path / "b")
    value = {key: r.value("max_error") for key, r in first.items()}
    assert again["plain", 0].metrics == first["plain", 0].metrics
    assert value["plain", 0] != value["plain", 1]
    assert value["double", 0] == 2 * value["plain", 0]


PATIENCE = 600.0
"""Seconds after which a test that waits fails: far more than anything takes, on any machine."""


@pytest.fixture
def hold(tmp_path, monkeypatch):
    """A file that holds the trainings of the seeds in it at their middle, as long as it exists."""
    place = tmp_path / "hold"
    monkeypatch.setenv("FAKE_HOLD", str(place))
    return place


def start(folder):
    command = ["-m", "bench", "run", "fake.train", "--tier", "cpu", "--seeds", "2", "--out", str(folder)]
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *command], stderr=pipe, stdout=pipe, text=True)


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def children_of(pid):
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in listed.stdout.split()]


def kill_the_parent(parent, child, folder):
    parent.kill()
    parent.communicate(timeout=PATIENCE)
    wait_for(lambda: child_is_gone(child))
    assert not list(folder.glob("records/*/*.json"))


def kill_the_run(parent, child, folder):
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: list(folder.glob("records/*/*.json")))
    parent.kill()
    parent.communicate(timeout=PATIENCE)
    (killed,) = records.read_all([folder])
    assert killed.status == "oom"
    assert killed.environment["versions"]["torch"]


@pytest.mark.parametrize("kill", [kill_the_parent, kill_the_run])
def test_after_a_kill_the_run_resumes_and_ends_the_same(fake_paper, hold, tmp_path, kill):
    whole, _, _ = run(["fake.train"], tmp_path / "whole", tier="cpu")
    hold.write_text("0 1")
    broken = tmp_path / "broken"
    parent = start(broken)
    wait_for(lambda: list(broken.glob("checkpoints/*/*.pt")))
    (child,) = children_of(parent.pid)
    kill(parent, child, broken)
    hold.unlink()
    found, _, _ = run(["fake.train"], broken, tier="cpu")
    resumed = found["sgd", 0]
    assert resumed.resumed == 1
    assert resumed.metrics == whole["sgd", 0].metrics
    assert not list(broken.glob("checkpoints/*/*.pt"))


def child_is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_the_children_and_keeps_what_is_done(fake_paper, hold, tmp_path, number, code):
    hold.write_text("1")
    parent = start(tmp_path)
    wait_for(lambda: list(tmp_path.glob("checkpoints/*/*.s1.*.pt")))
    (done,) = tmp_path.glob("records/*/*.json")
    before = done.read_bytes()
    children = children_of(parent.pid)
    parent.send_signal(number)
    _, err = parent.communicate(timeout=PATIENCE)
    assert parent.returncode == code
    assert "the same command goes on" in err
    wait_for(lambda: all(child_is_gone(pid) for pid in children))
    assert done.read_bytes() == before
    statuses = sorted(r.status for r in records.read_all([tmp_path]))
    assert statuses == ["done", "interrupted"]
    left = missing(plan(["fake.train"], "cpu", [0, 1]), tmp_path)
    assert [job.identity.seed for job in left] == [1]


def test_one_folder_serves_one_process(tmp_path):
    with locked(tmp_path), pytest.raises(UserError, match="in use by another"), locked(tmp_path):
        pass
    with locked(tmp_path):
        assert (tmp_path / ".lock").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"), locked(tmp_path / "file" / "out"):
        pass


def test_a_records_room_is_kept_before_a_run_prints_and_none_is_left(fake_paper, tmp_path, monkeypatch):
    seen = []
    sound = files.create

    def create(path, root):
        seen.extend(p.stat().st_size for p in root.glob("records/*/.*.part"))
        return sound(path, root)

    monkeypatch.setattr(files, "create", create)
    found, _, _ = run(["fake.act/plain", "fake.act/dies"], tmp_path)
    assert seen == [RESERVED] * 2
    assert {r.status for r in found.values()} == {"done", "error"}
    assert not list(tmp_path.rglob(".*.part"))


def test_what_somebody_else_gave_the_name_of_a_state_stays(fake_paper, tmp_path):
    run = Run(identify(registry()["fake.train"], "sgd", "smoke", 0), tmp_path)
    for phase in ("train", "second", "damaged"):
        run.save_state(phase, b"state")
    run.checkpoint("damaged").write_bytes(b"no longer one")
    run.checkpoint("mine").write_bytes(b"of the user")
    Run(run.identity, tmp_path).forget()  # as the parent does, which has saved none itself
    left = sorted(p.name.split(".")[-2] for p in run.checkpoint("x").parent.iterdir())
    assert left == ["damaged", "mine"]
    run.forget()
    assert [p.read_bytes() for p in run.checkpoint("x").parent.iterdir()] == [b"of the user"]
