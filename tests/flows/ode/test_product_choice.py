"""The faster product is chosen by a measurement, made once, here with a planted clock."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from replications.flows.ode.products import GAIN, ROUNDS, Choice, machine


class Clock:
    """Shows the time that was planted for each product: torch's takes one second, the other `seconds`."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.now, self.calls, self.seconds = 0.0, 0, seconds
        self.met: list[tuple[Tensor, Tensor]] = []
        self._readings = 0

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        self.met.append((a, b))
        self.now += self.seconds(len(self.met)) - 1.0
        return a @ b

    def __call__(self) -> float:
        self._readings += 1
        self.now += self._readings % 2 == 0  # a second from the first reading of a pair to the second
        return self.now


def choice(tmp_path: Path, seconds: Callable[[int], float]) -> tuple[Choice, Clock]:
    clock = Clock(seconds)
    return Choice(clock.product, clock, tmp_path / "products.json"), clock


A, B = torch.zeros(4, 3), torch.zeros(5, 3).T


@pytest.mark.parametrize(
    ("seconds", "faster"), [(0.5, True), (GAIN - 0.01, True), (GAIN + 0.01, False), (2.0, False)]
)
def test_the_other_product_is_taken_where_it_is_clearly_faster(
    tmp_path: Path, seconds: float, faster: bool
) -> None:
    chooses, clock = choice(tmp_path, lambda call: seconds)
    assert chooses(A, B) is faster
    assert len(clock.met) == ROUNDS


def test_the_fastest_of_several_counts(tmp_path: Path) -> None:
    """One slow round, as beside other work, changes nothing."""
    chooses, _ = choice(tmp_path, lambda call: 50.0 if call == 1 else 0.5)
    assert chooses(A, B)


def test_matrices_are_measured_in_their_layouts_once_each(tmp_path: Path) -> None:
    chooses, clock = choice(tmp_path, lambda call: 0.5)
    chooses(A, B)
    a, b = clock.met[0]
    assert (a.shape, a.stride(), b.shape, b.stride()) == (A.shape, A.stride(), B.shape, B.stride())
    assert a.any()
    assert b.any()
    chooses(A, B)
    assert len(clock.met) == ROUNDS
    chooses(A, torch.zeros(3, 5))
    assert len(clock.met) == 2 * ROUNDS


def test_matrices_without_values_are_measured_too(tmp_path: Path) -> None:
    """As torch.compile has them while it rewrites a graph."""
    chooses, clock = choice(tmp_path, lambda call: 0.5)
    with FakeTensorMode():
        assert chooses(torch.zeros(4, 3), torch.zeros(5, 3).T)
    assert clock.met[0][0].stride() == (3, 1)


def test_another_process_reads_what_was_measured(tmp_path: Path) -> None:
    first, _ = choice(tmp_path, lambda call: 0.5)
    first(A, B)
    second, clock = choice(tmp_path, lambda call: 2.0)
    assert second(A, B) is True
    assert clock.met == []
    kept = json.loads((tmp_path / "products.json").read_text())
    assert list(kept) == [f"{machine()} (4, 3)(3, 1) (3, 5)(1, 3)"]
    second(A, torch.zeros(3, 5))
    assert len(json.loads((tmp_path / "products.json").read_text())) == 2


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"a": 3}'])
def test_a_damaged_file_is_measured_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "products.json").write_text(content)
    chooses, clock = choice(tmp_path, lambda call: 0.5)
    assert chooses(A, B) is True
    assert len(clock.met) == ROUNDS


def test_a_place_that_can_not_be_written_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    clock = Clock(lambda call: 0.5)
    chooses = Choice(clock.product, clock, tmp_path / "file" / "products.json")
    assert chooses(A, B)
    assert chooses(A, B)
    assert len(clock.met) == ROUNDS


def test_folders_are_made_for_what_was_measured(tmp_path: Path) -> None:
    clock, place = Clock(lambda call: 0.5), tmp_path / "a" / "b" / "products.json"
    assert Choice(clock.product, clock, place)(A, B)
    assert len(json.loads(place.read_text())) == 1
