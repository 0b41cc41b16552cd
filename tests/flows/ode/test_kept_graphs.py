"""Steps whose graph is kept: the same gradient without a re-run, for as many as memory holds."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from replications.flows.fields.mlp import MlpField
from replications.flows.ode import gradients, memory
from replications.flows.ode.counter import Counter
from replications.flows.ode.kept import Checkpoints, Step
from replications.flows.ode.memory import SHARE, Saved, free_bytes
from replications.flows.ode.solve import Solver, solve
from replications.flows.ode.solver import ADAPTIVE, ONE_STEP
from replications.flows.ode.tableau import tableau

EVERY_METHOD = pytest.mark.parametrize("method", [*ONE_STEP, *ADAPTIVE])


def field_of() -> MlpField:
    field = MlpField(3, (8, 8), torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for p in field.parameters():
            p.mul_(3)
    return field


def start() -> Tensor:
    return torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def solver_of(method: str) -> Solver:
    return Solver(method, steps=9) if method in ONE_STEP else Solver(method, 1e-4, 1e-4)


def solved(method: str, gradient: str, counter: Counter | None = None) -> tuple[Tensor, ...]:
    """Return the end and the gradients of a scalar of it."""
    field, y = field_of(), start().requires_grad_()
    end = solve(field, y, 0.8, -0.5, solver_of(method), gradient, counter=counter)
    return end.detach(), *torch.autograd.grad(end.pow(3).sum(), (y, *field.parameters()))


def steps(counter: Counter) -> tuple[int, int]:
    return counter.taped, counter.checkpointed


@EVERY_METHOD
def test_a_tape_equals_backprop_without_a_re_run(method: str) -> None:
    tape, again = Counter(), Counter()
    ours, exact = solved(method, "tape", tape), solved(method, "backprop")
    for a, b in zip(ours, exact, strict=True):
        assert (a - b).norm() <= 1e-10 * b.norm()
    solved(method, "checkpoint", again)
    assert tape.forward_evaluations == again.forward_evaluations
    assert (tape.backward_evaluations, again.backward_evaluations > 0) == (0, True)
    assert steps(tape) == steps(again)[::-1]
    assert tape.taped == 9 or method in ADAPTIVE


def a_step(method: str) -> int:
    """Return the bytes that the graph of a step is reckoned to take, by hand.

    Of each layer's product W x + b and its column times t: the input x, and t; of each tanh its value, which is the
    next input; of the first product the state. So 4 states, 2 x 4 x 8 activations and some times, in each stage.
    """
    field, y, saved = field_of(), start(), Saved()
    with saved.watch():
        field(torch.tensor(0.8, dtype=torch.float64), y.requires_grad_())
    kept = saved.bytes_without((*field.parameters(), y))
    assert kept >= 2 * 4 * 8 * 8
    return len(tableau(method).nodes) * (kept + y.nbytes)


@EVERY_METHOD
@pytest.mark.parametrize("graphs", [0, 1, 3, math.inf])
def test_auto_keeps_what_memory_holds(method: str, graphs: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """For adaptive methods the opening f(t0, y0) takes the place of one."""
    free = (graphs + 0.5) * a_step(method) / SHARE
    monkeypatch.setattr(gradients, "free_bytes", lambda device: free)
    counter = Counter()
    ours, exact = solved(method, "auto", counter), solved(method, "backprop")
    for a, b in zip(ours, exact, strict=True):
        assert (a - b).norm() <= 1e-10 * b.norm()
    total = counter.taped + counter.checkpointed
    assert counter.taped == min(max(0, graphs - 1), total)
    assert (counter.backward_evaluations == 0) == (counter.checkpointed == 0)
    counter.reset()
    assert steps(counter) == (0, 0)


def test_a_tape_is_gone_after_the_backward_pass_and_can_be_made_again() -> None:
    field, y, counter = field_of(), start().requires_grad_(), Counter()
    end = solve(field, y, 0.0, 1.0, Solver("rk4", steps=5), "tape", counter=counter)
    kept = end.grad_fn.kept.steps
    assert [step.graph is not None for step in kept] == [True] * 6  # with the opening
    first = torch.autograd.grad(end.sum(), y, retain_graph=True)[0]
    assert [step.graph for step in kept] == [None] * 6
    assert counter.backward_evaluations == 0
    assert torch.equal(torch.autograd.grad(end.sum(), y)[0], first)
    assert counter.backward_evaluations == 5 * 4


def test_bytes_of_a_graph_count_each_storage_once() -> None:
    w, x = torch.ones(10, requires_grad=True), torch.ones(10)
    saved = Saved()
    with saved.watch():
        out = (w * x).exp()  # keeps x, w for it being a factor of nothing that needs it not, and the result
        out = out * out[:5].sum()
    assert saved.bytes_without((w, x)) == 4 * (10 + 1)
    assert saved.bytes_without(()) == 4 * (10 + 10 + 1)


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"max": "1000", "current": "400"}, 600),
        ({"max": "1000", "current": "1400"}, 0),
        ({"max": "max", "current": "400"}, math.inf),
        ({"max": "1000"}, math.inf),
        ({"max": "x", "current": "400"}, math.inf),
    ],
)
def test_a_limit_of_a_container_counts(tmp_path: Path, files: dict[str, str], left: float) -> None:
    for name, text in files.items():
        (tmp_path / f"memory.{name}").write_text(f"{text}\n")
    assert memory._group_left(tmp_path) == left


def test_the_memory_of_a_machine_is_read_from_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    table = SimpleNamespace(
        read_text=lambda: "MemTotal:  9000 kB\nMemAvailable:   3000 kB\nHugepagesize: 2 kB\n"
    )
    monkeypatch.setattr(memory, "Path", lambda name: table)
    assert memory._available() == 3000 * 1024


def test_as_many_graphs_are_kept_as_fit() -> None:
    kept = Checkpoints(graphs=2)
    room = []
    for _ in range(3):
        room.append(kept.tapes)
        kept.add(Step(0.0, 0.1, ()))
    assert room == [True, True, False]
    assert not Checkpoints(keep=False, graphs=2).tapes


def test_free_memory_is_the_least_of_machine_and_container(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert 2**20 < free_bytes(cpu) < 2**50
    monkeypatch.setattr(memory, "_available", lambda: 5.0)
    monkeypatch.setattr(memory, "_group_left", lambda: 7.0)
    assert free_bytes(cpu) == 5.0
    monkeypatch.setattr(memory, "_group_left", lambda: 3.0)
    assert free_bytes(cpu) == 3.0
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7, 9))
    assert free_bytes(torch.device("cuda")) == 7
