"""Quiet seconds: what a slower or busier machine changes."""

from collections.abc import Callable

import pytest

from replications.suite.pace import EVERY, Burst, QuietTime


class Machine:
    """A clock that advances by what work costs, at a speed."""

    def __init__(self, slowness: float) -> None:
        self.now, self.slowness = 0.0, slowness

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> Callable[[], None]:
        def done() -> None:
            self.now += self.slowness * seconds

        return done


def spent(slowness: float, steps: int = 40) -> float:
    machine = Machine(slowness)
    quiet = QuietTime(machine, machine.work(0.5), nominal=0.5)
    for _ in range(steps):
        quiet.add(machine.work(0.1))
    return quiet.total


def test_a_slower_machine_has_as_many_quiet_seconds_for_the_same_work() -> None:
    assert spent(1.0) == pytest.approx(4.0)
    assert spent(3.0) == pytest.approx(4.0)


def test_the_pace_follows_a_machine_that_gets_busy() -> None:
    machine = Machine(1.0)
    quiet = QuietTime(machine, machine.work(0.5), nominal=0.5)
    for _ in range(10):
        quiet.add(machine.work(EVERY))
    machine.slowness = 2.0
    for _ in range(200):
        quiet.add(machine.work(EVERY))
    assert quiet.total == pytest.approx(210 * EVERY, rel=0.03)
    assert quiet.pace == pytest.approx(0.5)


def test_the_time_of_the_bursts_themselves_does_not_count() -> None:
    machine = Machine(1.0)
    quiet = QuietTime(machine, machine.work(100.0), nominal=100.0)
    quiet.add(machine.work(1.0))
    assert quiet.total == pytest.approx(1.0)
    assert machine.now > 600


def test_a_burst_changes_nothing_that_a_method_sees() -> None:
    import torch

    before = torch.get_rng_state()
    burst = Burst()
    burst()
    assert torch.equal(before, torch.get_rng_state())
