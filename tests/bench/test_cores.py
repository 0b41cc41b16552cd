"""Threads and processors of a run: planted affinities, control groups and settings of the user."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest

from bench.errors import UserError
from bench.execution.cores import (
    Cores,
    asked_for,
    cores,
    pin,
    quota,
    settings,
    siblings,
    threads,
    wait_policy,
)

AFFINITY = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process")


@pytest.mark.parametrize(
    ("allowed", "granted", "usable"),
    [((0, 1, 2, 3), None, 4), ((0, 1, 2, 3), 2.5, 2), ((0, 1, 2, 3), 8.0, 4), ((5,), 0.3, 1), ((), None, 1)],
)
def test_as_many_threads_run_at_once_as_affinity_and_quota_grant(allowed, granted, usable):
    assert Cores(allowed, granted).usable == usable


@pytest.mark.parametrize("workers", range(1, 9))
@pytest.mark.parametrize("allowed", [(0,), (2, 3), (0, 1, 2, 3, 4, 5, 6), tuple(range(16))])
def test_runs_at_the_same_time_have_processors_of_their_own(allowed, workers):
    shares = Cores(allowed).shares(workers)
    assert len(shares) == workers
    assert all(share and set(share) <= set(allowed) for share in shares)
    if workers <= len(allowed):
        assert sorted(itertools.chain(*shares)) == list(allowed)  # disjoint, and none is idle
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    else:
        used = [share[0] for share in shares]
        assert max(map(used.count, allowed)) - min(map(used.count, allowed)) <= 1


PAIRS = ((0, 4), (1, 5), (2, 6), (3, 7))


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (1, [(0, 1, 2, 3, 4, 5, 6, 7)]),
        (2, [(0, 1, 4, 5), (2, 3, 6, 7)]),
        (3, [(0, 4), (1, 5), (2, 3, 6, 7)]),
        (4, list(PAIRS)),
        (8, [(0,), (4,), (1,), (5,), (2,), (6,), (3,), (7,)]),
        (9, [(0,), (4,), (1,), (5,), (2,), (6,), (3,), (7,), (0,)]),
    ],
)
def test_runs_get_whole_physical_cores_as_far_as_there_are_enough(workers, expected):
    assert Cores(tuple(range(8)), None, PAIRS).shares(workers) == expected


def test_processors_of_one_physical_core_are_siblings(tmp_path):
    for n in range(8):
        path = tmp_path / f"cpu{n}" / "topology"
        path.mkdir(parents=True)
        (path / "thread_siblings_list").write_text(f"{n % 4},{n % 4 + 4}\n")
    assert siblings(range(8), tmp_path) == PAIRS
    assert siblings((1, 2, 6), tmp_path) == ((1,), (2, 6))
    assert siblings((1, 2, 6), tmp_path / "absent") == ((1,), (2,), (6,))


@pytest.mark.parametrize(
    ("workers", "granted", "expected"), [(1, None, 4), (1, 3.9, 3), (2, 3.9, 1), (2, 4.0, 2), (8, 4.0, 1)]
)
def test_runs_at_the_same_time_share_the_quota(workers, granted, expected):
    machine = Cores(tuple(range(32)), granted)
    assert threads(4, machine.shares(workers)[0], machine, None, workers) == expected


@pytest.mark.parametrize(
    ("declared", "share", "granted", "asked", "expected"),
    [
        (1, (0, 1, 2, 3), None, None, 1),  # small networks: one
        (8, (0, 1, 2, 3), None, None, 4),  # no more than there are processors
        (8, (0, 1), None, None, 2),
        (8, (0, 1, 2, 3), 2.0, None, 2),
        (8, (0, 1, 2, 3), 0.5, None, 1),
        (1, (0, 1, 2, 3), None, 3, 3),  # the user's word
        (4, (0, 1, 2, 3), None, 1, 1),
        (1, (0, 1), None, 64, 2),
    ],
)
def test_threads_are_the_users_else_the_declared_within_what_can_run(
    declared, share, granted, asked, expected
):
    machine = Cores((0, 1, 2, 3), granted)
    assert threads(declared, share, machine, asked) == expected


@pytest.mark.parametrize(("text", "count"), [("3", 3), (" 2 ", 2), ("4,2", 4), ("", None), ("  ", None)])
def test_omp_num_threads_is_read_as_openmp_does(text, count):
    assert asked_for({"OMP_NUM_THREADS": text}) == count
    assert asked_for({}) is None


@pytest.mark.parametrize("text", ["abc", "0", "-1", "1.5", ",2", "²", "0x2"])
def test_a_number_of_threads_that_is_none_is_one_clear_line(text):
    with pytest.raises(UserError, match=r"OMP_NUM_THREADS is .* no positive number; set one, or unset it"):
        asked_for({"OMP_NUM_THREADS": text})


def test_threads_wait_passively_unless_the_user_says_otherwise():
    assert settings(2, {}) == {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
    assert wait_policy({"OMP_WAIT_POLICY": "ACTIVE"}) == "active"
    assert wait_policy({"OMP_WAIT_POLICY": ""}) == "passive"
    with pytest.raises(
        UserError, match="OMP_WAIT_POLICY is 'lazy'; set it to active or passive, or unset it"
    ):
        settings(1, {"OMP_WAIT_POLICY": "lazy"})


def groups(tmp_path, text, files):
    membership = tmp_path / "membership"
    membership.write_text(text)
    for name, content in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return quota(tmp_path / "groups", membership)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, None),
        (
            "0::/a/b\n",
            {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "50000 100000\n"},
            0.5,
        ),  # of the one above
        ("0::/a\n", {"a/cpu.max": "400000 100000", "cpu.max": "200000 100000"}, 2.0),  # the tightest
        ("0::/\n", {"cpu.max": "200000 100000"}, 2.0),  # inside a container
        (
            "3:cpu,cpuacct:/x\n",
            {"cpu/x/cpu.cfs_quota_us": "30000\n", "cpu/x/cpu.cfs_period_us": "10000\n"},
            3.0,
        ),
        ("3:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "10000\n"}, None),
        ("4:memory:/x\n", {"x/cpu.max": "1 1000"}, None),  # another controller's group
        ("0::/a\n", {}, None),
        ("0::/a\n", {"a/cpu.max": "100000 0\n"}, None),  # damaged
        ("0::/a\n", {"a/cpu.max": "much 100000\n"}, None),
        ("damaged\n\n", {"cpu.max": "much\n"}, None),
    ],
)
def test_the_quota_of_control_groups(tmp_path, membership, files, expected):
    assert groups(tmp_path, membership, files) == expected


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert quota(tmp_path, tmp_path / "absent") is None


@AFFINITY
def test_a_pinned_process_sees_its_own_processors_only():
    mine = sorted(os.sched_getaffinity(0))
    code = (
        "from bench.execution.cores import cores, pin\n"
        f"print(pin([{mine[-1]}]), cores().allowed, pin([10**6]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        done.stdout.split("\n")[0] == f"({mine[-1]},) ({mine[-1]},) ({mine[-1]},)"
    )  # what can not be is left


@AFFINITY
def test_the_affinity_is_that_of_this_process_and_no_others(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {pid, 5})
    assert cores().allowed == (0, 5)


@AFFINITY
def test_this_process_has_the_processors_it_may_run_on():
    assert cores().allowed == tuple(sorted(os.sched_getaffinity(0)))
    assert pin(cores().allowed) == cores().allowed
