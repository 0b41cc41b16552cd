"""Accuracy, its error and its evaluations, on a classifier that is known."""

import math
from pathlib import Path

import pytest
import torch

from bench.execution.run import Run
from bench.identity import Identity
from replications.flows.ode.counter import Counter
from replications.tasks.classification import Accuracy, accuracy, record_accuracy
from replications.tasks.splits import TestSet, TrainSet

LABELS = torch.tensor([0, 1, 1, 0, 1])


def test_accuracy_is_the_share_of_all_images_whatever_the_batches() -> None:
    counter = Counter()
    counter.count(99)  # from before: not part of the test

    def model(x: torch.Tensor) -> torch.Tensor:
        counter.count(len(x))
        return torch.stack((1 - x[:, 0], x[:, 0]), 1)  # class 1 where the first number is above a half

    x = torch.tensor([[0.0], [2.0], [0.0], [0.0], [2.0]])
    for batch in (1, 2, 5):
        found = accuracy(model, TestSet(x, LABELS), lambda x: x / 2, counter, batch)
        assert (found.right, found.n) == (4, 5)
        assert found.nfe == 5 / math.ceil(5 / batch)
    assert (found.percent, found.error) == (80.0, 20.0)
    assert found.se == pytest.approx(100 * math.sqrt(0.8 * 0.2 / 5))
    with pytest.raises(TypeError, match="takes a TestSet"):
        accuracy(model, TrainSet(x, LABELS))  # type: ignore[arg-type]


def test_it_is_recorded_with_its_error(tmp_path: Path) -> None:
    run = Run(Identity("test.classification", "only", "smoke", 0, 1, {}, {}), tmp_path)
    record_accuracy(run, Accuracy(3, 4, 8.0), "p", "tight")
    assert {k: (m.value, m.n, m.protocol) for k, m in run.metrics.items()} == {
        "test_accuracy[tight]": (75.0, 4, "p"),
        "test_error[tight]": (25.0, 4, "p"),
    }
    assert run.metrics["test_error[tight]"].se == pytest.approx(100 * math.sqrt(0.75 * 0.25 / 4))
