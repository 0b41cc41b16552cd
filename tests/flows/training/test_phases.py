"""What of a training is training: compilation, first use and data stand apart; by a clock that the work moves."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.execution.run import Run
from bench.identity import Identity
from replications.flows.training.clock import TrainingClock
from replications.flows.training.log import Log
from replications.flows.training.loop import train
from replications.flows.training.settings import Training

COMPILES, STEP, DATA = 60.0, 2.0, 0.5


class Machine:
    """A clock, and a process that compiles at its first step."""

    def __init__(self) -> None:
        self.now, self.compiled = 0.0, False

    def step(self) -> None:
        self.now += STEP + (0.0 if self.compiled else COMPILES)
        self.compiled = True

    def draw(self, i: int) -> float:
        self.now += DATA
        return float(i)


def new_run(folder: Path) -> Run:
    return Run(Identity("test.phases", "only", "smoke", 0, 1, {}, {}), folder)


def problem(machine: Machine) -> tuple[nn.Module, Callable[[int], Tensor], TrainingClock]:
    model, clock = nn.Linear(1, 1), TrainingClock(lambda: machine.now)
    batch = clock.drawn(machine.draw)

    def loss(i: int) -> Tensor:
        x = batch(i)
        machine.step()
        return model(torch.full((1, 1), x)).square().sum()

    return model, loss, clock


@pytest.mark.parametrize("iterations", [2, 3, 50])
def test_a_slow_first_step_and_the_data_are_no_training(tmp_path: Path, iterations: int) -> None:
    machine = Machine()
    model, loss, clock = problem(machine)
    log = train(new_run(tmp_path), model, loss, Training(iterations, 1e-3), clock=clock)
    assert log.iteration_time == STEP
    assert log.train_time == iterations * STEP
    assert log.trained == [STEP] * iterations
    assert log.warmup_time == COMPILES
    assert sum(log.drawing) == iterations * DATA
    assert machine.now == log.train_time + log.warmup_time + sum(log.drawing)


def test_validations_are_no_training_either(tmp_path: Path) -> None:
    machine = Machine()
    model, loss, clock = problem(machine)

    def validate() -> float:
        machine.now += 1000.0
        return 0.0

    log = train(new_run(tmp_path), model, loss, Training(4, 1e-3, validate_every=2), validate, clock=clock)
    assert log.train_time == 4 * STEP


def test_a_process_that_resumes_compiles_again(tmp_path: Path) -> None:
    def stop(i: int) -> None:
        if i == 3:
            raise KeyboardInterrupt

    settings = Training(8, 1e-3, checkpoint_seconds=0)
    model, loss, clock = problem(Machine())
    with pytest.raises(KeyboardInterrupt):
        train(new_run(tmp_path), model, loss, settings, on_iteration=stop, clock=clock)
    model, loss, clock = problem(Machine())
    log = train(new_run(tmp_path), model, loss, settings, clock=clock)
    assert log.starts == [0, 3]  # the state was saved after three iterations
    assert log.train_time == 8 * STEP
    assert log.warmup_time == 2 * COMPILES
    assert sum(log.drawing) == 8 * DATA


def test_a_first_step_that_is_faster_than_the_others_has_no_warm_up() -> None:
    log = Log(seconds=[1.0, 2.0, 3.0, 4.0], starts=[0])
    assert (log.iteration_time, log.train_time, log.warmup_time) == (3.0, 10.0, 0.0)


def test_without_a_clock_for_its_data_none_is_told_apart(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    log = train(new_run(tmp_path), model, lambda i: model(torch.ones(1, 1)).square().sum(), Training(3, 1e-3))
    assert log.drawing == []
    assert log.starts == [0]


def test_a_clock_stands_while_data_is_drawn() -> None:
    now = [0.0]
    clock = TrainingClock(lambda: now[0])

    @clock.drawn
    def draw(seconds: float, name: str) -> str:
        now[0] += seconds
        return name

    now[0] = 4.0
    assert draw(7.0, name="batch") == "batch"
    assert (clock(), clock.drawing) == (4.0, 7.0)
    now[0] += 1.0
    assert clock() == 5.0
