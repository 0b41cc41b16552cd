"""Peak memory to the byte, clocks, evaluation counts, environment."""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import platform
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchdiffeq import odeint

from bench.measure import clock
from bench.measure.clock import in_turns, quotient, synchronize, take_turns, time_repeats
from bench.measure.environment import environment, source_state
from bench.measure.memory import _requests, peak_memory, resident_peak

N = 1000
BYTES = 8 * N  # of one float64 tensor of N elements


def reserve(size: int) -> torch.Tensor:
    return torch.empty(size, dtype=torch.uint8)


# -- peak memory --------------------------------------------------------------------------------------------


def test_peak_is_the_largest_sum_of_what_is_live_at_once():
    with peak_memory() as first_wins:
        a = reserve(1_000_003)
        del a
        b, c = reserve(400_001), reserve(500_002)
        del b, c
    assert first_wins.bytes == 1_000_003
    with peak_memory() as overlap_wins:
        a = reserve(1_000_003)
        del a
        b, c = reserve(700_001), reserve(800_002)
        del b
        d = reserve(600_000)
        del c, d
    assert overlap_wins.bytes == 700_001 + 800_002


def test_requests_are_the_cpus_allocations_alone_in_the_order_of_time():
    from torch._C._profiler import _EventType

    def event(tag, kind, time, size):
        fields = SimpleNamespace(device=SimpleNamespace(type=kind), ptr=1, alloc_size=size)
        return SimpleNamespace(tag=tag, extra_fields=fields, start_time_ns=time)

    events = [
        event(_EventType.Allocation, "cpu", 3, -8),
        event(_EventType.Allocation, "cuda", 2, 16),
        event(_EventType.TorchOp, "cpu", 2, 32),
        event(_EventType.Allocation, "cpu", 1, 8),
    ]
    assert list(_requests(events)) == [(1, 8), (1, -8)]


@given(st.lists(st.one_of(st.integers(1, 5_000), st.integers(-8, -1)), max_size=60))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_peak_follows_any_sequence_of_allocations_and_releases(script):
    held: list[torch.Tensor] = []
    sizes: list[int] = []
    expected = 0
    with peak_memory() as m:
        for step in script:
            if step > 0:
                held.append(reserve(step))
                sizes.append(step)
            elif held:
                del held[step % len(held)], sizes[step % len(sizes)]
            expected = max(expected, sum(sizes))
    assert m.bytes == expected


def test_nothing_allocated_is_zero():
    with peak_memory() as m:
        pass
    assert m.bytes == 0


def test_temporaries_count():
    a = torch.ones(N, dtype=torch.float64)
    with peak_memory() as m:
        result = (a + 1) + (a + 2)
    assert m.bytes == 3 * BYTES
    assert result[0] == 5


def test_tensors_saved_by_autograd_count():
    x = torch.ones(N, dtype=torch.float64, requires_grad=True)
    with peak_memory() as with_graph:
        y = x
        for _ in range(7):
            y = torch.tanh(y)  # each result is kept for the backward pass
    with peak_memory() as without_graph, torch.no_grad():
        z = x
        for _ in range(7):
            z = torch.tanh(z)
    assert with_graph.bytes == 7 * BYTES
    assert without_graph.bytes == 2 * BYTES


def test_allocations_of_the_backward_pass_count_and_earlier_tensors_it_releases_do_not():
    x = torch.ones(N, dtype=torch.float64, requires_grad=True)
    y = x
    for _ in range(7):
        y = torch.tanh(y)
    g = torch.ones_like(y)
    with peak_memory() as m:
        y.backward(g)
    assert m.bytes == 2 * BYTES  # the gradient that comes in and the one that goes out of an operator


@pytest.mark.parametrize("measured_before", [False, True])
def test_earlier_tensors_released_inside_count_as_zero(measured_before):
    if measured_before:
        with peak_memory():
            earlier = reserve(900_000)
    else:
        earlier = reserve(900_000)
    with peak_memory() as m:
        del earlier
        later = reserve(100_000)
    assert m.bytes == 100_000 == len(later)


def test_address_used_again_after_an_unmeasured_release():
    with peak_memory():
        a = reserve(64_000)
    del a
    b = reserve(64_000)  # likely at the address of a, whose release went unseen
    with peak_memory() as m:
        del b
        c = reserve(64_000)
    assert m.bytes == 64_000 == len(c)


def training_step_peak() -> int:
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 8))
    with peak_memory() as m:
        odeint(lambda t, y: net(y), x, torch.tensor([0.0, 1.0]), method="rk4").square().mean().backward()
    return m.bytes


def test_the_same_work_has_the_same_peak():
    peaks = {training_step_peak() for _ in range(3)}
    assert len(peaks) == 1
    assert peaks.pop() > 64 * 32 * 4  # at least one hidden activation


def test_a_failure_inside_leaves_the_instrument_usable():
    with pytest.raises(ZeroDivisionError), peak_memory() as failed:
        1 / (reserve(5_000).ndim - 1)
    assert failed.bytes == 5_000
    with peak_memory() as m:
        reserve(123)
    assert m.bytes == 123


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_peak_on_cuda():
    held = torch.empty(4096, dtype=torch.uint8, device="cuda")
    with peak_memory("cuda") as m:
        a = torch.empty(1 << 20, dtype=torch.uint8, device="cuda")
        del a
        b = torch.empty(1 << 19, dtype=torch.uint8, device="cuda")
    assert m.bytes == 1 << 20
    assert len(held) + len(b) == 4096 + (1 << 19)


def test_resident_peak_grows_with_what_is_touched_and_stays():
    before = resident_peak()
    block = bytearray(before + (32 << 20))  # zero pages become resident when written
    block[::4096] = b"x" * len(block[::4096])
    high = resident_peak()
    assert high >= before + (32 << 20)
    del block
    assert resident_peak() > high - (1 << 20)  # the kernel sums its counters loosely


def test_resident_peak_of_a_child_is_its_own():
    code = "from bench.measure.memory import resident_peak; print(resident_peak())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 1 << 20 < int(child.stdout) < resident_peak() / 2  # no torch there


# -- clock --------------------------------------------------------------------------------------------------


class FakeClock:
    """Time that passes only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def passes(self, seconds: float) -> int:
        self.now += seconds
        return 0


def test_repeats_are_summarised_and_warm_up_is_not_counted(monkeypatch):
    fake = FakeClock(monkeypatch)
    durations = iter([100.0, 50.0, 1.0, 9.0, 2.0, 4.0, 3.0])
    timing = time_repeats(lambda: fake.passes(next(durations)), warmup=2, repeats=5)
    assert timing.values == (1.0, 9.0, 2.0, 4.0, 3.0)
    assert (timing.median, timing.spread, timing.n) == (3.0, 2.0, 5)


def test_one_repeat_has_no_spread_and_none_is_refused(monkeypatch):
    fake = FakeClock(monkeypatch)
    assert time_repeats(lambda: fake.passes(2.0), repeats=1).spread is None
    with pytest.raises(ValueError, match="at least 1"):
        time_repeats(lambda: None, repeats=0)


def test_work_still_queued_before_is_not_timed_and_queued_inside_is(monkeypatch):
    fake = FakeClock(monkeypatch)
    queue = [10.0]
    monkeypatch.setattr(clock, "synchronize", lambda device: fake.passes(sum(queue)) or queue.clear())
    timing = time_repeats(lambda: queue.append(3.0), warmup=0, repeats=2)
    assert timing.values == (3.0, 3.0)


def test_synchronize_waits_for_cuda_only_where_asked(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    synchronize("cpu")
    synchronize(torch.device("cpu"))
    assert waited == []
    synchronize("cuda:1")
    assert waited == ["cuda:1"]


class Drifting:
    """A machine that takes 0.3 s more of each piece of work than of the one before; or 30 % of the first."""

    def __init__(self, added: bool) -> None:
        self.now, self.done, self.added = 0.0, 0, added

    def work(self, seconds: float) -> None:
        late = 0.3 * self.done
        self.now += seconds + late if self.added else seconds * (1 + late)
        self.done += 1


@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize("turns", [2, 3, 8])
def test_in_turns_forth_and_back_a_drift_cancels(added: bool, turns: int) -> None:
    seconds = {"a": 2.0, "b": 2.0 if added else 5.0, "c": 1.0}
    machine = Drifting(added)
    arms = {name: partial(machine.work, value) for name, value in seconds.items()}
    found = take_turns(arms, turns, lambda: machine.now)
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(seconds, turns)
    assert quotient(found["a"], found["b"]) == pytest.approx(seconds["a"] / seconds["b"])


def test_one_arm_after_the_other_would_take_a_drift_for_a_difference() -> None:
    machine, found = Drifting(added=False), {}
    for name in "ab":
        (found[name],) = take_turns(
            {name: partial(machine.work, 2.0)}, 2, lambda: machine.now, warmup=0
        ).values()
    assert quotient(found["a"], found["b"]) < 0.7


def test_one_late_turn_of_many_is_not_the_quotient() -> None:
    assert quotient([1.0, 1.0, 1.0, 99.0], [2.0] * 4) == 0.5
    assert quotient([3.0], [2.0]) == 1.5


def test_a_turn_is_so_many_steps_and_the_warm_up_is_not_timed() -> None:
    now, done = [0.0], []

    def step(name: str, seconds: float) -> None:
        done.append(name)
        now[0] += seconds

    arms = {"a": partial(step, "a", 2.0), "b": partial(step, "b", 3.0)}
    found = take_turns(arms, 2, lambda: now[0], warmup=1, steps=2)
    assert "".join(done) == "abab" + "aabb" + "bbaa"
    assert found == {"a": [2.0, 2.0], "b": [3.0, 3.0]}
    assert list(in_turns("abc", 2)) == [("a", "b", "c"), ("c", "b", "a")]
    with pytest.raises(ValueError, match="at least 1"):
        take_turns(arms, 0, lambda: now[0])


# -- environment --------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "a.py").write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_commit_of_a_clean_checkout(checkout):
    assert source_state(checkout) == (git(checkout, "rev-parse", "HEAD"), False)


def test_results_do_not_make_the_sources_dirty(checkout):
    (checkout / "reports").mkdir()
    (checkout / "reports" / "table.md").write_text("1")
    assert source_state(checkout)[1] is False


@pytest.mark.parametrize("name", ["a.py", "new.py"])
def test_a_changed_or_new_source_is_dirty(checkout, name):
    (checkout / "bench" / name).write_text("x = 2\n")
    assert source_state(checkout)[1] is True


def test_what_is_no_checkout_has_no_commit(checkout, tmp_path_factory):
    assert source_state(checkout / "bench") == (None, None)
    assert source_state(tmp_path_factory.mktemp("bare")) == (None, None)


def test_environment_is_json_and_names_neither_host_nor_user():
    found = environment("cpu")
    text = json.dumps(found)
    assert json.loads(text) == found
    assert found["versions"]["python"] == platform.python_version()
    assert found["gpu"] is None
    strings = set(_strings(found))
    assert platform.node() not in strings
    assert getpass.getuser() not in strings


def test_environment_names_the_build_of_torch_not_only_its_release(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.0.0")  # as an index's metadata does
    monkeypatch.setattr(torch, "__version__", "2.0.0+cu118")
    monkeypatch.setattr(torch.version, "cuda", "11.8")
    found = environment("cpu")["versions"]
    assert (found["torch"], found["cuda"]) == ("2.0.0+cu118", "11.8")
    assert found["torch_commit"] == torch.version.git_version
    assert found["numpy"] == "2.0.0"


def _strings(tree: object) -> list[str]:
    if isinstance(tree, dict):
        return [s for value in tree.values() for s in _strings(value)]
    return [tree] if isinstance(tree, str) else []


def test_environment_reads_the_numerical_settings():
    assert environment()["dtype"] == "float32"
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    try:
        found = environment()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)
    assert (found["dtype"], found["deterministic"]) == ("float64", True)
    assert found["threads"] == torch.get_num_threads()


@pytest.mark.parametrize("newer_switch", [False, True])
def test_environment_reads_tf32_however_it_was_set(newer_switch):
    matmul = "torch.backends.cuda.matmul"
    switch = f"{matmul}.fp32_precision = 'tf32'" if newer_switch else f"{matmul}.allow_tf32 = True"
    if newer_switch and not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("this torch has no such switch")
    code = f"""
import json, torch
from bench.measure.environment import environment
before = environment()["tf32"]["matmul"]
{switch}
print(json.dumps([before, environment()["tf32"]["matmul"]]))"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(child.stdout) == [False, True]


def test_instruments_import_without_torch():
    modules = "clock, environment, memory"
    code = f"import sys; from bench.measure import {modules}; import bench.stats, bench.metrics.catalogue"
    check = code + "; assert not {'torch', 'pandas', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_the_resident_peak_is_the_systems_own_number_in_bytes():
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("there is no /proc here")
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    assert resident_peak() == int(line.split()[1]) * 1024


def test_two_repeats_have_a_spread(monkeypatch):
    fake = FakeClock(monkeypatch)
    durations = iter([1.0, 3.0])
    timing = time_repeats(lambda: fake.passes(next(durations)), warmup=0, repeats=2)
    assert (timing.median, timing.spread) == (2.0, 1.0)
